package user

import (
	"errors"
	"strings"
	"time"
)

var errTime = errors.New("not a time as RFC 3339 writes it")

// ParseTime reads a time of RFC 3339 as UTC, in a year that can be written again. Unlike
// [time.Parse], it takes a lower-case t and z (section 5.6) and a leap second (section 5.7), as the
// second that follows it, and neither an hour of one digit nor a comma.
func ParseTime(text string) (time.Time, error) {
	const second = len("2006-01-02T15:04:")
	text = strings.ToUpper(text)
	leap := time.Duration(0)
	if len(text) > second+2 && text[second:second+2] == "60" {
		text, leap = text[:second]+"59"+text[second+2:], time.Second
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || text[second-1] != ':' || strings.Contains(text, ",") {
		return time.Time{}, errTime
	}
	if zone := text[len(text)-5:]; text[len(text)-1] != 'Z' && (zone[:2] > "23" || zone[3:] > "59") { // which Parse takes
		return time.Time{}, errTime
	}
	if t = t.Add(leap).UTC(); t.Year() < 1 || t.Year() > 9999 { // an offset can lead out of them
		return time.Time{}, errTime
	}
	return t, nil
}
