package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"aiadmin/pkg/access"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/secret"
	"aiadmin/pkg/user"
)

// keyID returns the key that the path names; what is no UUID names none.
func keyID(r *http.Request) (uuid.UUID, error) {
	id, ok := user.ParseID(r.PathValue("KeyID"))
	if !ok {
		return id, user.ErrNoSuchKey
	}
	return id, nil
}

func (a *API) listKeys(w http.ResponseWriter, r *http.Request) error {
	ref, err := userRef(r)
	if err != nil {
		return err
	}
	keys, err := a.options.Admin.Keys(r.Context(), ref)
	if err != nil {
		return err
	}
	out := appendList([]byte(`{"keys":[`), keys, appendKey)
	return writeJSON(w, r, http.StatusOK, append(out, '}'))
}

// findKeys lists keys across users.
func (a *API) findKeys(w http.ResponseWriter, r *http.Request) error {
	values, err := queryValues(r)
	if err != nil {
		return err
	}
	query, err := user.ParseKeyQuery(values)
	if err != nil {
		return err
	}
	found, err := a.options.Admin.FindKeys(r.Context(), query)
	if err != nil {
		return err
	}
	page := listed{name: "keys", limit: query.Limit, total: found.Total, exact: found.Total != nil}
	if found.More {
		page.next = query.CursorAfter(&found.Keys[len(found.Keys)-1])
	}
	return writePage(w, r, values, page, found.Keys, appendKey)
}

func appendKey(dst []byte, k *user.ListedKey) []byte { return k.AppendJSON(dst) }

// key returns the key that the path names, as it is now.
func (a *API) key(r *http.Request) (user.ListedKey, error) {
	id, err := keyID(r)
	if err != nil {
		return user.ListedKey{}, err
	}
	ref, err := userRef(r)
	if err != nil {
		return user.ListedKey{}, err
	}
	return a.options.Admin.Key(r.Context(), ref, id)
}

// getKey is for those who read users, and for those who write keys.
func (a *API) getKey(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.Authorize(r, auth.UsersRead, auth.KeysWrite); err != nil {
		return err
	}
	key, err := a.key(r)
	if err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusOK, key.AppendJSON(nil))
}

// issued is what the answer to a new secret needs beside the event. It is sealed with the claim of an
// Idempotency-Key, so that a repetition gets the same answer.
type issued struct {
	Secret     string     `json:"secret"`
	KeyID      uuid.UUID  `json:"keyId"`
	CreatedAt  time.Time  `json:"createdAt"`
	CreatedBy  string     `json:"createdBy"`
	LastUsedAt *time.Time `json:"lastUsedAt"`
	Expired    bool       `json:"expired"` // when it was rotated
}

func (a *API) issueKey(w http.ResponseWriter, r *http.Request) error {
	patch, body, done, err := a.keyPatch(w, r, keyBody, "name", "expiresAt", "models")
	if err != nil {
		return err
	}
	defer done()
	plain := access.NewSecret()
	hash := plain.Hash()
	change := user.IssueKey{KeyPatch: patch, KeyID: user.NewID(), Secret: user.NewSecret{Hash: hash[:], Hint: plain.Hint()}}
	outcome, known, err := a.applySecret(r, change, body, issued{Secret: plain.Text().Reveal(), KeyID: change.KeyID})
	if err != nil {
		return err
	}
	known.CreatedAt, known.CreatedBy = outcome.Event.At, outcome.Event.Actor
	w.Header().Set("Location", usersPath+"/"+outcome.Event.UserID.String()+"/keys/"+known.KeyID.String())
	return writeSecret(w, r, http.StatusCreated, outcome, known, nil)
}

func (a *API) rotateKey(w http.ResponseWriter, r *http.Request) error {
	id, err := keyID(r)
	if err != nil {
		return err
	}
	patch, body, done, err := a.keyPatch(w, r, keyBody, "overlap", "expiresAt")
	if err != nil {
		return err
	}
	defer done()
	before, err := a.key(r)
	if err != nil && user.KindOf(err) != user.NotFound { // a repetition is answered also when the key is gone
		return err
	}
	plain := access.NewSecret()
	for plain.Hint() == before.Hint { // which would be no visible change
		plain = access.NewSecret()
	}
	hash := plain.Hash()
	change := user.RotateKey{KeyPatch: patch, KeyID: id, Secret: user.NewSecret{Hash: hash[:], Hint: plain.Hint()}}
	outcome, known, err := a.applySecret(r, change, body, issued{plain.Text().Reveal(), id, before.CreatedAt, before.CreatedBy, before.LastUsedAt, before.Expired(time.Now())})
	if err != nil {
		return err
	}
	return writeSecret(w, r, http.StatusOK, outcome, known, change.FormerUntil(outcome.Event.At, known.Expired))
}

// applySecret carries out a change that gives a key a secret, and returns what its first answer is made of.
func (a *API) applySecret(r *http.Request, change user.Change, body []byte, known issued) (user.Outcome, issued, error) {
	command, err := a.command(r, change)
	if err != nil {
		return user.Outcome{}, known, err
	}
	// The path is part of what a repetition must bring again: another key's secret is not its answer.
	if command.Claim, err = claimOf(r, append([]byte(r.URL.EscapedPath()+"\x00"), body...)); err != nil {
		return user.Outcome{}, known, err
	}
	if command.Claim != nil {
		kept, err := json.Marshal(known)
		if err != nil {
			return user.Outcome{}, known, err
		}
		command.Claim.Secret = secret.New(string(kept))
	}
	outcome, err := a.options.Admin.Apply(r.Context(), command)
	if err == nil && outcome.Replayed {
		known = issued{}
		err = json.Unmarshal([]byte(outcome.Secret.Reveal()), &known)
	}
	return outcome, known, err
}

// writeSecret answers with a key and, this once, its secret. All but the secret is as the event has it.
func writeSecret(w http.ResponseWriter, r *http.Request, status int, outcome user.Outcome, known issued, formerUntil *time.Time) error {
	key := outcome.Event.Key(known.KeyID)
	key.CreatedAt, key.CreatedBy, key.PreviousValidUntil = known.CreatedAt, known.CreatedBy, formerUntil
	if outcome.Replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("ETag", etag(outcome.Event.Version))
	shown := user.ListedKey{Key: key, UserID: outcome.Event.UserID, LastUsedAt: known.LastUsedAt}
	body := shown.AppendJSON(nil)
	body = append(body[:len(body)-1], `,"secret":"`+known.Secret+`"}`...) // of letters, digits and _
	return writeJSON(w, r, status, body)
}

// keyPatch reads a body that may carry the members named; none at all is an empty one. What is returned
// is good until done is called, which must be once the request's work is done.
func (a *API) keyPatch(w http.ResponseWriter, r *http.Request, mediaTypes []string, allowed ...string) (patch user.KeyPatch, body []byte, done func(), err error) {
	if r.ContentLength == 0 && r.Header.Get("Content-Type") == "" {
		done, err = a.options.Gate.Enter(r.Context())
	} else {
		body, done, err = a.readBody(w, r, mediaTypes...)
	}
	if err != nil {
		return patch, nil, nil, err
	}
	if patch, err = user.ParseKeyPatch(body, allowed...); err != nil {
		done()
	}
	return patch, body, done, err
}

var (
	keyBody      = []string{"application/json"}
	keyPatchBody = []string{"application/merge-patch+json", "application/json"}
)

func (a *API) patchKey(w http.ResponseWriter, r *http.Request) error {
	id, err := keyID(r)
	if err != nil {
		return err
	}
	patch, body, done, err := a.keyPatch(w, r, keyPatchBody, "name", "models", "status", "expiresAt")
	if err != nil {
		return err
	}
	defer done()
	if len(body) == 0 {
		return user.Errorf(user.Malformed, "the body is empty: send a JSON object")
	}
	outcome, err := a.apply(r, user.UpdateKey{KeyPatch: patch, KeyID: id})
	if err != nil {
		return err
	}
	shown, err := a.options.Admin.Key(r.Context(), user.Ref{ID: outcome.User.ID}, id) // for its use, which no change has
	if err != nil {
		return err
	}
	shown.Key = *outcome.User.Key(id)
	w.Header().Set("ETag", etag(outcome.User.Version))
	return writeJSON(w, r, http.StatusOK, shown.AppendJSON(nil))
}

func (a *API) revokeKey(w http.ResponseWriter, r *http.Request) error {
	id, err := keyID(r)
	if err != nil {
		return err
	}
	if _, err := a.apply(r, user.RevokeKeys{KeyID: id}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) revokeKeys(w http.ResponseWriter, r *http.Request) error {
	outcome, err := a.apply(r, user.RevokeKeys{})
	if err != nil {
		return err
	}
	revoked := len(outcome.Before.Keys) - len(outcome.User.Keys)
	w.Header().Set("ETag", etag(outcome.User.Version))
	return writeJSON(w, r, http.StatusOK, []byte(`{"revoked":`+strconv.Itoa(revoked)+`}`))
}
