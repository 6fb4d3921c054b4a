package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/store"
)

// tokenCommand works with JSON Web Tokens.
type tokenCommand struct {
	Create tokenCreateCommand `cmd:"" help:"Make a token for a user."`
	Verify tokenVerifyCommand `cmd:"" help:"Say whose token it is and whether the service would take it."`
	Revoke tokenRevokeCommand `cmd:"" help:"Revoke one token, or all that a user has."`
}

// tokenSettings are what the token commands need beside the database.
func tokenSettings() []string {
	return append(databaseSettings(), "jwt_secret", "jwt_keys", "jwt_issuer", "jwt_audience", "jwt_expiry")
}

type tokenCreateCommand struct {
	theUser
	Expiry time.Duration `group:"run" placeholder:"TIME" help:"How long it is good, up to 8784h; default: jwt_expiry."`
	JSON   bool          `group:"run" name:"json" help:"Print one object with token, id, issued_at and expires_at."`
	settingsFlags
}

// Run makes a token.
func (c *tokenCreateCommand) Run(p *program) error {
	return c.withUser(p, c.theUser, func(i *installation, u store.User) error {
		if u.State != store.StateActive {
			return &exitError{exitUnavailable, fmt.Errorf("user %s is %s: a token would be refused", u.Email, u.State)}
		}
		if err := i.need("jwt_secret", "jwt_keys"); err != nil {
			return err
		}
		issuer, err := newIssuer(i.settings, i.keys)
		if err != nil {
			return err
		}
		issued, err := issuer.Issue(auth.Grant{TenantID: u.TenantID.String(), UserID: u.ID.String(), Role: u.Role, Lifetime: c.Expiry})
		if err != nil {
			return usagef("--expiry: %s", strings.TrimPrefix(err.Error(), "auth: "))
		}
		// Who can make tokens can act as anybody: the log must know.
		if err := i.store.AddAudit(p.ctx, []store.AuditEntry{{
			TenantID: u.TenantID, Actor: atCommandLine("token create"), Action: "token.create", TargetKind: "user", TargetID: u.ID.String(),
			Detail: map[string]string{"token_id": issued.ID, "expires_at": issued.ExpiresAt.Format(time.RFC3339)},
		}}); err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(p.stdout).Encode(map[string]any{
				"token": issued.Token.Reveal(), "id": issued.ID, "issued_at": issued.IssuedAt, "expires_at": issued.ExpiresAt,
			})
		}
		_, err = fmt.Fprintln(p.stdout, issued.Token.Reveal())
		return err
	})
}

// newIssuer makes what signs tokens.
func newIssuer(s *config.Settings, k *keyring) (*auth.Issuer, error) {
	if len(k.tokens) == 0 {
		return nil, &exitError{exitConfig, fmt.Errorf("there is no key to sign tokens with yet: postrider serve makes one, or set %sJWT_SECRET", config.EnvPrefix)}
	}
	cfg := auth.IssuerConfig{Key: k.tokens[0], Issuer: s.JWTIssuer, Lifetime: s.JWTExpiry}
	if s.JWTAudience != "" {
		cfg.Audience = []string{s.JWTAudience}
	}
	return auth.NewIssuer(cfg)
}

// verifierConfig is for tokens that newIssuer's signed.
func verifierConfig(s *config.Settings, k *keyring) auth.VerifierConfig {
	return auth.VerifierConfig{Keys: k.tokens, Issuer: s.JWTIssuer, Audience: s.JWTAudience}
}

// tokenArgument is a token as an argument, or better on standard input.
type tokenArgument struct {
	Token string `arg:"" optional:"" default:"-" help:"The token; -, the default, reads it from standard input, since other users of the machine can read command lines."`
}

func (a *tokenArgument) read(p *program) (string, error) {
	if a.Token != "-" {
		return a.Token, nil
	}
	b, err := io.ReadAll(io.LimitReader(p.stdin, auth.MaxTokenSize+100))
	if err != nil {
		return "", fmt.Errorf("the token cannot be read: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

type tokenVerifyCommand struct {
	tokenArgument
	settingsFlags
}

// Run verifies a token as the service does, also against the database.
func (c *tokenVerifyCommand) Run(p *program) error {
	return c.with(p, func(i *installation) error {
		token, err := c.read(p)
		if err != nil {
			return err
		}
		principal, err := verify(p, i, token)
		if err != nil {
			return err
		}
		if err := json.NewEncoder(p.stdout).Encode(principal); err != nil {
			return err
		}
		standing, err := i.store.Tenant(principal.TenantID).Standing(p.ctx, principal.UserID)
		if err != nil {
			return err
		}
		if why := refusal(principal, standing); why != "" {
			return &exitError{exitNoAuth, fmt.Errorf("the service refuses it: %s", why)}
		}
		return nil
	})
}

// verify checks signature, times and claims.
func verify(p *program, i *installation, token string) (auth.Principal, error) {
	if err := i.need("jwt_secret", "jwt_keys"); err != nil {
		return auth.Principal{}, err
	}
	if len(i.keys.tokens) == 0 {
		_, err := newIssuer(i.settings, i.keys)
		return auth.Principal{}, err
	}
	verifier, err := auth.NewVerifier(p.ctx, verifierConfig(i.settings, i.keys))
	if err != nil {
		return auth.Principal{}, err
	}
	defer verifier.Close()
	principal, err := verifier.Verify(p.ctx, token)
	if refused, ok := errors.AsType[*auth.Error](err); ok {
		err = &exitError{exitNoAuth, fmt.Errorf("the service refuses it: %s (%s)", refused.Detail(), refused.Reason)}
	}
	return principal, err
}

// refusal says why a verified token does not count, or nothing.
func refusal(p auth.Principal, st store.Standing) string {
	switch {
	case st.TenantState == "" || st.UserState == "":
		return "its tenant or user is not registered"
	case st.TenantState != store.StateActive:
		return "its tenant is suspended"
	case st.UserState != store.StateActive:
		return "its user is suspended"
	case !st.RevokedBefore.IsZero() && !p.IssuedAt.After(st.RevokedBefore):
		return "all tokens of its user were revoked after it was made"
	}
	for _, id := range st.RevokedTokens {
		if id == p.TokenID {
			return "it was revoked"
		}
	}
	return ""
}

type tokenRevokeCommand struct {
	tokenArgument
	ID     string `group:"run" name:"id" placeholder:"JTI" help:"Revoke the token with this id (jti) instead, of --tenant."`
	User   string `group:"run" placeholder:"USER" help:"Revoke all tokens of this user instead (mail address or id), of --tenant."`
	Tenant string `group:"run" placeholder:"TENANT" help:"Name or id of the tenant, with --id and --user."`
	settingsFlags
}

// Run revokes tokens.
func (c *tokenRevokeCommand) Run(p *program) error {
	by := atCommandLine("token revoke")
	switch {
	case c.ID != "" && c.User != "":
		return usagef("--id and --user are two ways: give one of them")
	case (c.ID != "" || c.User != "") && (c.Tenant == "" || c.Token != "-"):
		return usagef("--id and --user go with --tenant and without a token")
	case c.User != "":
		return c.withUser(p, theUser{User: c.User, ofTenant: ofTenant{c.Tenant}}, func(i *installation, u store.User) error {
			if err := i.store.Tenant(u.TenantID).RevokeUserTokens(p.ctx, u.ID, by); err != nil {
				return err
			}
			_, err := fmt.Fprintf(p.stdout, "all tokens of %s are revoked\n", u.Email)
			return err
		})
	case c.ID != "":
		return c.withTenant(p, c.Tenant, func(i *installation, t store.TenantRecord) error {
			// Its expiry is not known: as late as any can be.
			return c.revoke(p, i, auth.Principal{TenantID: t.ID, TokenID: c.ID, ExpiresAt: time.Now().Add(maxTokenLife)}, uuid.Nil, by)
		})
	case c.Tenant != "":
		return usagef("--tenant goes with --id or --user: a token names its tenant itself")
	}
	return c.with(p, func(i *installation) error {
		token, err := c.read(p)
		if err != nil {
			return err
		}
		principal, err := verify(p, i, token)
		if err != nil {
			return err
		}
		if principal.TokenID == "" {
			return &exitError{exitUnavailable, errors.New("the token has no id (jti): revoke all tokens of its user with --user")}
		}
		return c.revoke(p, i, principal, principal.UserID, by)
	})
}

// maxTokenLife is longer than any token is good.
const maxTokenLife = 366 * 24 * time.Hour

func (c *tokenRevokeCommand) revoke(p *program, i *installation, token auth.Principal, user uuid.UUID, by store.Actor) error {
	until := token.ExpiresAt.Add(2 * auth.DefaultLeeway) // it is taken a little longer than it says
	if err := i.store.Tenant(token.TenantID).RevokeToken(p.ctx, token.TokenID, user, until, by); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.stdout, "token %s is revoked\n", token.TokenID)
	return err
}
