package httpapi

import (
	"context"
	"slices"

	"github.com/postrider/postrider/auth"
)

// access says who may call an operation. It is made by everyone, members, senders and operatorOnly alone; the zero
// access is none and cannot be registered.
type access struct {
	words    []string    // what x-postrider-roles says
	roles    []auth.Role // with full scope
	kinds    []auth.Kind // of credentials; never empty but for everyone
	sending  bool        // the scope of sending is enough, with any role
	everyone bool
}

// everyone may call what needs no credential. A credential that is sent all the same is not looked at.
func everyone() access { return access{words: []string{"everyone"}, everyone: true} }

// members are the users of a tenant who have one of the roles, by token or by API key with full scope.
func members(roles ...auth.Role) access {
	a := access{roles: slices.Clone(roles), kinds: []auth.Kind{auth.KindToken, auth.KindAPIKey}}
	for _, role := range roles {
		a.words = append(a.words, string(role))
	}
	return a
}

// anyMember is a user of a tenant with any role.
func anyMember() access { return members(auth.RoleUser, auth.RoleAdmin) }

// senders are all members, and API keys that are for sending only.
func senders() access {
	return access{words: []string{string(auth.RoleUser), string(auth.RoleAdmin), string(auth.ScopeSending)}, sending: true, kinds: []auth.Kind{auth.KindToken, auth.KindAPIKey}}
}

// operatorOnly is who holds the operator key.
func operatorOnly() access {
	return access{words: []string{string(auth.KindOperator)}, kinds: []auth.Kind{auth.KindOperator}}
}

// byToken narrows a to those who logged in: what a person does, and a program's API key should not be able to.
func (a access) byToken() access {
	a.kinds = []auth.Kind{auth.KindToken}
	return a
}

// check is nil, or the *auth.Error to refuse the caller with. Each question is heard by auth.Config.OnDecision.
func (a access) check(ctx context.Context) error {
	if a.everyone {
		return nil
	}
	if err := auth.CheckKind(ctx, a.kinds...); err != nil {
		return err
	}
	switch {
	case a.sending:
		return auth.CheckScope(ctx, auth.ScopeSending)
	case len(a.roles) > 0:
		return auth.CheckRole(ctx, a.roles...)
	}
	return nil
}

// isNone reports the zero access.
func (a access) isNone() bool { return len(a.words) == 0 }
