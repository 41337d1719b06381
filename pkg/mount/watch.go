package mount

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Interval is how often [Watch] looks when it is not told otherwise.
const Interval = time.Second

// Refresher is a [Volume] of any type.
type Refresher interface {
	Name() string
	Refresh() (changed bool, err error)
}

// Watch refreshes the volumes each interval (0: [Interval]) until ctx ends. Every value
// taken up or refused is logged and handed to onReload (may be nil), with a nil error for
// one taken up.
func Watch(ctx context.Context, interval time.Duration, log *slog.Logger,
	onReload func(volume string, err error), volumes ...Refresher,
) {
	if interval <= 0 {
		interval = Interval
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, v := range volumes {
			changed, err := v.Refresh()
			if !changed && err == nil {
				continue
			}
			report(log, v.Name(), err)
			if onReload != nil {
				onReload(v.Name(), err)
			}
		}
	}
}

func report(log *slog.Logger, volume string, err error) {
	if err == nil {
		log.Info("mounted values taken up", "volume", volume)
		return
	}
	lines := []string{err.Error()}
	if problems, ok := errors.AsType[*Problems](err); ok {
		lines = problems.Lines()
	}
	log.Error("mounted values refused, the last good ones stay in use", "volume", volume, "problems", lines)
}
