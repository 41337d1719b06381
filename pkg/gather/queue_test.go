package gather

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// queueOf returns a queue whose batches last until they are let go, and the batches that began.
func queueOf(workers, most int) (q *Queue[int], letGo chan struct{}, began func() [][]int) {
	var mu sync.Mutex
	var batches [][]int
	letGo = make(chan struct{})
	q = &Queue[int]{Workers: workers, Most: most, Batch: func(jobs []int) {
		mu.Lock()
		batches = append(batches, jobs)
		mu.Unlock()
		<-letGo
	}}
	return q, letGo, func() [][]int {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(batches)
	}
}

func (q *Queue[J]) countWaiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

func expectBatches(t *testing.T, when string, got [][]int, want ...[]int) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v began, want %v", when, got, want)
	}
}

func TestABatchBesideAnotherIsHalfFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, letGo, began := queueOf(2, 6)
		q.Add(1)
		expectBatches(t, "a lone job", began(), []int{1})
		q.Add(2)
		q.Add(3)
		expectBatches(t, "two beside one", began(), []int{1})
		q.Add(4)
		expectBatches(t, "half of the most", began(), []int{1}, []int{2, 3, 4})
		for job := 5; job <= 8; job++ {
			q.Add(job)
		}
		expectBatches(t, "without a free worker", began(), []int{1}, []int{2, 3, 4})
		letGo <- struct{}{}
		expectBatches(t, "at the end of one", began(), []int{1}, []int{2, 3, 4}, []int{5, 6, 7, 8})
		q.Add(9)
		letGo <- struct{}{}
		expectBatches(t, "too few beside another", began(), []int{1}, []int{2, 3, 4}, []int{5, 6, 7, 8})
		letGo <- struct{}{}
		expectBatches(t, "at the end of the last", began(), []int{1}, []int{2, 3, 4}, []int{5, 6, 7, 8}, []int{9})
		close(letGo)
	})
}

func TestAStuckBatchGivesUpItsPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, letGo, began := queueOf(1, 6)
		q.Add(1)
		began()
		q.Add(2)
		q.Add(3)
		expectBatches(t, "while one is under way", began(), []int{1})
		if n := q.countWaiting(); n != 2 {
			t.Errorf("%d wait, want 2", n)
		}
		time.Sleep(stuckAfter) // of the bubble: it takes no time
		expectBatches(t, "once it is stuck", began(), []int{1}, []int{2, 3})
		q.Add(4)
		close(letGo)
		expectBatches(t, "and nothing is left behind", began(), []int{1}, []int{2, 3}, []int{4})
		if n := q.countWaiting(); n != 0 {
			t.Errorf("%d still wait", n)
		}
	})
}
