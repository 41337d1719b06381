package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const demoWorkers = 8

// fillDemo creates users 1 to n over HTTP, as any client would. Each number always makes
// the same user with the same id, so that another run adds only what is missing.
func fillDemo(ctx context.Context, s streams, d devService, n int) error {
	progress := bar(s, int64(n), "Demo users", false)
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: demoWorkers}}
	defer client.CloseIdleConnections()
	var made atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	next := make(chan int)
	group.Go(func() error {
		defer close(next)
		for i := 1; i <= n; i++ {
			select {
			case next <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range demoWorkers {
		group.Go(func() error {
			for i := range next {
				created, err := d.create(ctx, client, demoUser(i))
				if err != nil {
					return fmt.Errorf("demo user %d: %w", i, err)
				}
				if created {
					made.Add(1)
				}
				_ = progress.Add(1)
			}
			return nil
		})
	}
	err := group.Wait()
	_ = progress.Finish()
	if err == nil {
		fmt.Fprintf(s.out, "Demo users: %d made, %d were there.\n", made.Load(), int64(n)-made.Load())
	}
	return err
}

// create posts one user; one that is there already, or was changed since, is left alone.
func (d devService) create(ctx context.Context, client *http.Client, user map[string]any) (created bool, err error) {
	body, err := json.Marshal(user)
	if err != nil {
		return false, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/ai/admin/users", bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	request.Header.Set("Authorization", "Bearer "+d.token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body) // to its end, so that the connection is used again
	switch answer.StatusCode {
	case http.StatusCreated:
		return true, err
	case http.StatusConflict:
		return false, err
	}
	return false, fmt.Errorf("%s: %s", answer.Status, text)
}
