package eventapi

import (
	"crypto/sha256"
	"strconv"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// The types of events that are taken in.
const (
	typeCreate = "ai.admin.user.create"
	typeUpdate = "ai.admin.user.update"
	typeDelete = "ai.admin.user.delete"
)

// rejected is a change that can only be refused. It goes to the writer like any other,
// which first looks whether an earlier delivery of the event had more success.
type rejected struct{ reason error }

// Validate implements [user.Change].
func (r rejected) Validate() error { return r.reason }

// command is what the event asks for, by whom.
func (r *received) command(origin user.Origin) user.Command {
	digest := sha256.Sum256(r.Data())
	origin.Cause = r.ID()
	command := user.Command{Origin: origin,
		Claim: &user.Claim{Kind: user.EventClaim, Scope: r.source, ID: r.ID(), Digest: digest[:]}}
	err := r.fill(&command)
	if err != nil {
		command.Change = rejected{err}
	}
	return command
}

func (r *received) fill(command *user.Command) error {
	decode, ok := decoders[r.Type()]
	if !ok {
		return user.Problems{{Field: "type", Code: "validation_in_invalid",
			Message: "must be " + typeCreate + ", " + typeUpdate + " or " + typeDelete}}.Err()
	}
	if len(r.DataEncoded) > 0 && !isJSON(r.DataContentType()) {
		return user.Errorf(user.UnsupportedMedia, "the data of this event must be JSON in UTF-8, and its content type say so")
	}
	var err error
	if command.IfMatch, err = expected(r.Extensions()); err != nil {
		return err
	}
	return decode(r, command)
}

var decoders = map[string]func(*received, *user.Command) error{
	typeCreate: decodeCreate,
	typeUpdate: decodeUpdate,
	typeDelete: decodeDelete,
}

// decodeCreate takes a subject that is a UUID for the user's id, as an update with the
// same subject will. Any other subject means something to the sender alone.
func decodeCreate(r *received, command *user.Command) error {
	change, err := user.ParseCreate(r.DataEncoded)
	if err != nil {
		return err
	}
	if id, ok := user.ParseID(r.Subject()); ok {
		change.For(id)
	}
	command.Change = change
	return nil
}

func decodeUpdate(r *received, command *user.Command) error {
	change, err := user.ParseUpdate(r.DataEncoded)
	if err != nil {
		return err
	}
	command.Change = change
	if err := change.Validate(); err != nil {
		return err
	}
	id, err := r.subjectID()
	if err != nil {
		return err
	}
	switch {
	case id != uuid.Nil:
		command.User = user.Ref{ID: id} // the writer holds data.id against it
	case change.ID.Set:
		command.User = user.Ref{ID: change.ID.Value}
	default:
		command.User = user.Ref{Tag: change.Tag.Value}
	}
	return addressed(command.User)
}

func decodeDelete(r *received, command *user.Command) error {
	change, ref, err := user.ParseDelete(r.DataEncoded)
	if err != nil {
		return err
	}
	id, err := r.subjectID()
	if err != nil {
		return err
	}
	if id != uuid.Nil {
		change.For(id, ref.ID)
		ref.ID = id
	}
	command.Change, command.User = change, ref
	if err := change.Validate(); err != nil {
		return err
	}
	return addressed(ref)
}

// subjectID is the user that the subject names, the nil UUID without a subject.
func (r *received) subjectID() (uuid.UUID, error) {
	if r.Subject() == "" {
		return uuid.Nil, nil
	}
	id, ok := user.ParseID(r.Subject())
	if !ok {
		return uuid.Nil, user.Problems{{Field: "subject", Code: "validation_is_uuid",
			Message: "must be the user's id, a UUID; to name the user by tag, leave it out"}}.Err()
	}
	return id, nil
}

func addressed(ref user.Ref) error {
	if ref != (user.Ref{}) {
		return nil
	}
	return user.Problems{{Field: "subject", Code: "validation_required",
		Message: "must be the id of the user; or put id or tag in data"}}.Err()
}

// expected reads the extension expectedversion: the version that the user must have.
func expected(extensions map[string]any) (*user.Precondition, error) {
	value, given := extensions[expectedVersion].(string)
	if !given {
		return nil, nil //nolint:nilnil // no expectation
	}
	version, err := strconv.ParseInt(value, 10, 64)
	if err != nil || strconv.FormatInt(version, 10) != value {
		return nil, errExpected
	}
	return &user.Precondition{Versions: []int64{version}}, nil
}

var errExpected = user.Errorf(user.Malformed, "the attribute expectedversion must be an integer")
