package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of /proc's processor times: Linux shows all programs 100 a second.
const clockTick = 10 * time.Millisecond

// cpu is the processor time, user's and system's, that a process has used.
func (s *service) cpu() time.Duration {
	stat, err := os.ReadFile(s.proc("stat"))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(stat, []byte(") ")) // the name before it may hold spaces
	fields := strings.Fields(string(rest))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * clockTick
}

// memory is the resident memory in MiB: at present, and at its highest since the last reset.
func (s *service) memory() (now, peak float64) {
	status, _ := os.ReadFile(s.proc("status"))
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			peak = kib / 1024
		}
	}
	return now, peak
}

// resetPeak makes the present memory the highest so far (proc(5), clear_refs).
func (s *service) resetPeak() { _ = os.WriteFile(s.proc("clear_refs"), []byte("5"), 0) }

func (s *service) proc(name string) string {
	return fmt.Sprintf("/proc/%d/%s", s.cmd.Process.Pid, name)
}
