package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// SignIn is the state of a sign-in at an issuer: authorization code flow with PKCE (RFC 7636), state and
// nonce. Keep it secret until the issuer sends the person back.
type SignIn struct {
	Issuer   string `json:"issuer"`
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"`
	Redirect string `json:"redirect"` // where the issuer sends the person
}

// SignInIssuers returns the issuers that people can sign in with: those that have a ClientID.
func (a *Authenticator) SignInIssuers() (issuers []string) {
	for url, one := range a.federation.Load().issuers {
		if one.clientID() != "" {
			issuers = append(issuers, url)
		}
	}
	return issuers
}

// BeginSignIn returns the issuer's address to send a person to, and the state to keep meanwhile. It fails
// with [ErrUnavailable] if the issuer cannot be reached.
func (a *Authenticator) BeginSignIn(ctx context.Context, issuer, redirect string) (string, SignIn, error) {
	// All three values must be random; a verifier has 256 bits.
	kept := SignIn{Issuer: issuer, State: oauth2.GenerateVerifier(), Nonce: oauth2.GenerateVerifier(), Verifier: oauth2.GenerateVerifier(), Redirect: redirect}
	flow, _, err := a.flow(ctx, kept)
	if err != nil {
		return "", SignIn{}, err
	}
	return flow.AuthCodeURL(kept.State, oidc.Nonce(kept.Nonce), oauth2.S256ChallengeOption(kept.Verifier)), kept, nil
}

// EndSignIn exchanges the code that the issuer sent for an ID token, which [Authenticator.Authenticate] then
// judges. It fails with [ErrInvalid] or [ErrUnavailable].
func (a *Authenticator) EndSignIn(ctx context.Context, kept SignIn, code string) (token string, err error) {
	flow, client, err := a.flow(ctx, kept)
	if err != nil {
		return "", err
	}
	answer, err := flow.Exchange(oidc.ClientContext(ctx, client), code, oauth2.VerifierOption(kept.Verifier))
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response.StatusCode < http.StatusInternalServerError {
		return "", invalid("the issuer refused the code: " + refused.ErrorCode)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnavailable, shorten(err))
	}
	token, _ = answer.Extra("id_token").(string)
	claimed, err := parseJWT(token)
	if err != nil {
		return "", err
	}
	if claimed.claims.text("nonce") != kept.Nonce {
		return "", invalid("its nonce is another sign-in's")
	}
	return token, nil
}

// flow asks the issuer where its endpoints are (OpenID Connect Discovery 1.0 section 4).
func (a *Authenticator) flow(ctx context.Context, kept SignIn) (*oauth2.Config, *http.Client, error) {
	known, ok := a.federation.Load().issuers[kept.Issuer]
	if !ok || known.clientID() == "" {
		return nil, nil, invalid("people cannot sign in with this issuer")
	}
	client := clientFor(kept.Issuer, a.client)
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), kept.Issuer)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: discovery: %w", ErrUnavailable, shorten(err))
	}
	endpoint := provider.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInParams // a public client has no secret to send
	return &oauth2.Config{ClientID: known.clientID(), Endpoint: endpoint, RedirectURL: kept.Redirect, Scopes: []string{oidc.ScopeOpenID, "profile", "email"}}, client, nil
}

// clientID returns the first client id among the issuer's policies; empty for none.
func (i *issuer) clientID() string {
	for _, policy := range i.policies {
		if policy.ClientID != "" {
			return policy.ClientID
		}
	}
	return ""
}
