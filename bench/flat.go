package main

import (
	"context"
	"strings"
	"time"
)

// listings are the documented filters and sorts, each as one client asks for it.
var listings = []string{"", "?sort=createdAt", "?sort=tag", "?sort=-tag", "?sort=name", "?sort=-name", "?sort=email", "?sort=-email", "?sort=-createdAt,name",
	"?role=admin", "?role=service", "?status=suspended", "?role=viewer&status=suspended", "?role=admin&sort=name", "?status=suspended&sort=-email",
	"?tag=u-100000000007", "?email=u.100000000007@example.com", "?externalId=none", "?id=00000000-0000-7000-8000-100000000007",
	"?model=model-7", "?model=gpt-5", "?provider=openai", "?metadata.team=legal", "?metadata.costCenter=7", "?metadata.team=legal&role=admin",
	"?q=ada", "?q=hamilton", "?q=hopper%201000", "?q=---", "?q=u", "?q=gr", "?q=zz",
	"?createdFrom=2020-01-01T00:00:00Z&createdTo=2100-01-01T00:00:00Z", "?page=200", "?page=200&sort=name", "?count=none"}

// latency is what one client waits for a listing.
type latency struct {
	Listing string  `json:"listing"`
	P50     float64 `json:"p50ms"`
	P99     float64 `json:"p99ms"`
	Errors  int64   `json:"errors"`
}

const flatEnough = 20 // milliseconds

// measureFlat has one client ask for each listing again and again, and for the pages behind
// the first and the ten thousandth user in turns.
func measureFlat(ctx context.Context, b *bench, r *report) error {
	slowest := latency{}
	for _, query := range listings {
		l, err := b.listed(ctx, query)
		if err != nil {
			return err
		}
		r.Listings = append(r.Listings, l)
		if l.P99 > slowest.P99 {
			slowest = l
		}
	}
	r.add("slowest listing's p99, "+slowest.Listing, slowest.P99, "ms", "at most 20", slowest.P99 <= flatEnough)
	return b.measureDepth(ctx, r)
}

func (b *bench) listed(ctx context.Context, query string) (latency, error) {
	o := operation{name: "flat", method: "GET", path: usersPath + query, status: 200}
	l := load{address: b.service.address, connections: 1, request: b.request(o), numbers: b.aimed(o, 0),
		warm: 300 * time.Millisecond, time: 700 * time.Millisecond, status: o.status}
	result, err := l.run(ctx)
	progress("%-60s p50 %.2f ms  p99 %.2f ms", query, result.quantile(.5), result.quantile(.99))
	return latency{query, result.quantile(.5), result.quantile(.99), result.errors}, err
}

// measureDepth compares the page behind the ten thousandth user with the first.
func (b *bench) measureDepth(ctx context.Context, r *report) error {
	deep, err := b.deepPages(ctx)
	if err != nil {
		return err
	}
	var first, behind []float64
	for range 5 {
		for _, page := range []struct {
			query string
			to    *[]float64
		}{{"", &first}, {strings.TrimPrefix(deep[0], usersPath), &behind}} {
			l, err := b.listed(ctx, page.query)
			if err != nil {
				return err
			}
			*page.to = append(*page.to, l.P50)
		}
	}
	ratio := median(behind) / median(first)
	r.add("page at depth 10,000 beside the first", ratio, "times", "at most 1.2", ratio <= 1.2)
	return nil
}
