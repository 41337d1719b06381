package eventapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"aiadmin/pkg/user"
)

// received is an event that is well-formed: what it asks for may still be refused. Beside
// an error, it has at most attributes, to tell which event it was.
type received struct {
	*event.Event
	attributes attributes // as sent: the SDK's own rewrite a URI
	data       []byte
}

// read takes one event out of a request.
func read(m mode, h http.Header, body []byte) (*received, error) {
	if m == structured {
		return readStructured(body)
	}
	found, err := headerAttributes(h)
	if err != nil {
		return &received{}, err
	}
	return parse(found, body)
}

func readStructured(body []byte) (*received, error) {
	found, data, err := bodyAttributes(body)
	if err != nil {
		return &received{attributes: found}, err
	}
	if _, given := found["datacontenttype"]; !given {
		found["datacontenttype"] = "application/json" // JSON Event Format, section 3.1.1
	}
	return parse(found, data)
}

// parse has the SDK parse what [attributes.check] let through. Both modes come here as
// binary, the one that the SDK reads without surprises.
func parse(found attributes, data []byte) (*received, error) {
	if err := found.check(); err != nil {
		return &received{attributes: found}, err
	}
	h := http.Header{}
	for name, value := range found {
		switch name {
		case "datacontenttype":
			continue
		case "time": // the SDK does not know all that RFC 3339 allows
			if t, err := user.ParseTime(value); err == nil {
				value = t.Format(time.RFC3339Nano)
			}
		}
		h.Set("Ce-"+name, value)
	}
	parsed, err := recovered(func() (*event.Event, error) {
		return binding.ToEvent(context.Background(), cehttp.NewMessage(h, io.NopCloser(bytes.NewReader(nil))))
	})
	if err == nil {
		err = parsed.Validate()
	}
	if err != nil {
		return &received{attributes: found}, user.Errorf(user.Malformed, "not a valid CloudEvent: %s", summary(err)).Because(err)
	}
	return &received{parsed, found, data}, nil
}

// recovered turns a panic of the SDK into an error: it is known to panic on some input.
func recovered(parse func() (*event.Event, error)) (e *event.Event, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("the SDK panicked: %v", fault)
		}
	}()
	return parse()
}

// summary is the SDK's reason in one bounded line.
func summary(err error) string {
	line := strings.Join(strings.Fields(err.Error()), " ")
	return strings.ToValidUTF8(line[:min(len(line), 200)], "")
}
