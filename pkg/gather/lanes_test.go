package gather

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Clocks of these tests stand still while something runs: on a busy machine, no job gets
// stuck and no patience ends but where a test waits for that.

type job struct {
	done    chan struct{}
	answers atomic.Int64
}

// TestEveryJobIsCarriedOutOnce races jobs for two lanes, and looks at how many are under way.
func TestEveryJobIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, everyJobIsCarriedOutOnce)
}

func everyJobIsCarriedOutOnce(t *testing.T) {
	const count, most, jobs = 2, 5, 2000
	var underWay, shared atomic.Int64
	carry := func(given ...*job) {
		if n := underWay.Add(1); n > count {
			t.Errorf("%d lanes are taken", n)
		}
		for _, j := range given {
			j.answers.Add(1)
		}
		underWay.Add(-1)
	}
	l := &Lanes[*job]{Count: count, Most: most, Group: func(given []*job) {
		if len(given) == 0 || len(given) > most {
			t.Errorf("a group of %d", len(given))
		}
		shared.Add(int64(len(given)))
		carry(given...)
		for _, j := range given {
			close(j.done)
		}
	}}
	var held []func()
	for range count {
		held = append(held, l.Enter(nil))
	}
	var running sync.WaitGroup
	for range jobs {
		running.Go(func() {
			j := &job{done: make(chan struct{})}
			if leave := l.Enter(j); leave != nil {
				carry(j)
				leave()
			} else {
				<-j.done
			}
			if n := j.answers.Load(); n != 1 {
				t.Errorf("a job was carried out %d times", n)
			}
		})
	}
	for l.Waiting() < jobs/10 { // these go together for certain, the others race them
		runtime.Gosched()
	}
	for _, leave := range held {
		leave()
	}
	running.Wait()
	if shared.Load() < jobs/10 || l.Waiting() != 0 {
		t.Errorf("%d went together, %d wait", shared.Load(), l.Waiting())
	}
	for range count { // all lanes become free: a lane is freed after its last answer
		for l.free() == 0 {
			runtime.Gosched()
		}
		if l.Enter(nil) == nil {
			t.Error("a free lane is not to be had")
		}
	}
}

func (l *Lanes[J]) free() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Count - l.alone - l.groups
}

// TestJobsWaitForTheGroupUnderWay holds that those that come while a group is carried out
// go together after it, although lanes are free, unless they are many.
func TestJobsWaitForTheGroupUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, jobsWaitForTheGroupUnderWay)
}

func jobsWaitForTheGroupUnderWay(t *testing.T) {
	began, goOn := make(chan int), make(chan struct{})
	l := &Lanes[*job]{Count: 3, Most: 8, Group: func(given []*job) {
		began <- len(given)
		<-goOn
	}}
	var held []func()
	for range 3 {
		held = append(held, l.Enter(nil))
	}
	wait := func(n int) {
		for range n {
			if l.Enter(new(job)) != nil {
				t.Error("a job went beside a group that it could go with")
			}
		}
	}
	wait(2)
	for _, leave := range held {
		leave()
	}
	if n := <-began; n != 2 {
		t.Errorf("%d went together, want the 2 that waited", n)
	}
	wait(l.full())
	if n := <-began; n != l.full() {
		t.Errorf("%d went beside the group, want the %d that are enough", n, l.full())
	}
	wait(1)
	if n := <-began; n != 1 { // the others are stuck: it is out of patience
		t.Errorf("%d went when patience was over, want 1", n)
	}
	wait(1)
	goOn <- struct{}{}
	if n := <-began; n != 1 { // there was no fourth lane
		t.Errorf("%d went with the first lane that ended, want 1", n)
	}
	for range 3 {
		goOn <- struct{}{}
	}
	for l.free() < 3 {
		runtime.Gosched()
	}
}

// TestAStuckJobGivesItsLaneUp holds that those who carry out what takes for ever do not
// keep the others waiting, and that leaving later changes nothing more.
func TestAStuckJobGivesItsLaneUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, aStuckJobGivesItsLaneUp)
}

func aStuckJobGivesItsLaneUp(t *testing.T) {
	done := make(chan int)
	l := &Lanes[*job]{Count: 2, Most: 8, Group: func(given []*job) { done <- len(given) }}
	stuck := []func(){l.Enter(nil), l.Enter(nil)}
	if l.Enter(new(job)) != nil {
		t.Fatal("there was a third lane")
	}
	if n := <-done; n != 1 { // for good, if it had to wait for them
		t.Errorf("%d went", n)
	}
	for l.free() < 2 {
		runtime.Gosched()
	}
	for _, leave := range stuck {
		leave()
	}
	if l.free() != 2 {
		t.Errorf("%d of 2 lanes are free", l.free())
	}
}

// TestNothingStaysOfJobsThatAreDone: they may hold secrets.
func TestNothingStaysOfJobsThatAreDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, nothingStaysOfJobsThatAreDone)
}

func nothingStaysOfJobsThatAreDone(t *testing.T) {
	l := &Lanes[*job]{Count: 1, Most: 8, Group: func([]*job) {}}
	leave := l.Enter(nil)
	for range 20 {
		l.Enter(new(job))
	}
	known := l.waiting // where they are, and must not stay
	leave()
	for l.free() == 0 || l.Waiting() > 0 {
		runtime.Gosched()
	}
	for _, kept := range known {
		if kept != nil {
			t.Fatal("a job that is done is still known")
		}
	}
}

func TestGuardedMakesAnErrorOfAPanic(t *testing.T) {
	t.Parallel()
	plain := errors.New("plain")
	if err := Guarded(func() error { return plain }); !errors.Is(err, plain) {
		t.Error(err)
	}
	if err := Guarded(func() error { panic("planted") }); err == nil || !strings.Contains(err.Error(), "planted") {
		t.Error(err)
	}
}
