package auth

import (
	"context"
	"net/http"
	"slices"

	"github.com/google/uuid"
)

// RequireRole lets principals pass that have one of the roles, with full scope; others get 403. Without roles
// nobody passes. It stands behind Middleware.Handler; without that it answers 401.
func RequireRole(roles ...Role) func(http.Handler) http.Handler {
	roles = slices.Clone(roles)
	return require(func(ctx context.Context) error { return CheckRole(ctx, roles...) })
}

// RequireScope lets principals pass whose credential may be used for scope; others get 403. It is what guards the
// routes that sending-only keys may use: RequireRole refuses them.
func RequireScope(scope Scope) func(http.Handler) http.Handler {
	return require(func(ctx context.Context) error { return CheckScope(ctx, scope) })
}

// RequireKind lets principals pass that came with one of the kinds of credentials; others get 403. The routes of
// the operator are guarded by RequireKind(KindOperator).
func RequireKind(kinds ...Kind) func(http.Handler) http.Handler {
	kinds = slices.Clone(kinds)
	return require(func(ctx context.Context) error { return CheckKind(ctx, kinds...) })
}

func require(check func(context.Context) error) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := check(r.Context()); err != nil {
				Refuse(w, r, err)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// CheckRole is RequireRole for code that has only the context: nil, or an *Error for Refuse.
func CheckRole(ctx context.Context, roles ...Role) error {
	p, _ := FromContext(ctx)
	return decide(ctx, CheckOfRole, ReasonRoleHeld, checkRole(p, roles))
}

// CheckScope is RequireScope for code that has only the context.
func CheckScope(ctx context.Context, scope Scope) error {
	p, _ := FromContext(ctx)
	return decide(ctx, CheckOfScope, ReasonScopeHeld, checkScope(p, scope))
}

// CheckKind is RequireKind for code that has only the context.
func CheckKind(ctx context.Context, kinds ...Kind) error {
	p, _ := FromContext(ctx)
	return decide(ctx, CheckOfKind, ReasonKindHeld, checkKind(p, kinds))
}

// CheckAccess says whether the caller may see and change row: a user its own rows, an admin every row of its own
// tenant, nobody a row of another tenant, and the operator none. It returns nil or an *Error of 403 (401 without
// a caller) whose Reason tells the cases apart. A handler should answer as for a row that does not exist when
// IsOtherTenant(err), so that nobody can find out which ids exist elsewhere.
func CheckAccess(ctx context.Context, row Row) error {
	p, _ := FromContext(ctx)
	allowed := ReasonOwnRow
	if p.UserID != row.UserID {
		allowed = ReasonAdminOfTenant
	}
	return decide(ctx, CheckOfRow, allowed, checkAccess(p, row))
}

// IsOtherTenant reports whether CheckAccess refused because the row is not the caller's tenant's.
func IsOtherTenant(err error) bool {
	return err != nil && asError(err).Reason == ReasonOtherTenant
}

func checkRole(p Principal, roles []Role) *Error {
	switch {
	case p.Kind == "":
		return refusal(CodeMissing, ReasonNobody)
	case p.Scope == ScopeSending:
		return refusal(CodeScope, ReasonSendingOnly)
	case p.Role == "" || p.Scope != ScopeFull || !slices.Contains(roles, p.Role):
		return refusal(CodeRole, ReasonRoleMissing)
	}
	return nil
}

func checkScope(p Principal, scope Scope) *Error {
	switch {
	case p.Kind == "":
		return refusal(CodeMissing, ReasonNobody)
	case p.TenantID == uuid.Nil: // the operator acts for no tenant, and so cannot send for one
		return refusal(CodeKind, ReasonOtherKind)
	case scope == ScopeSending && (p.Scope == ScopeSending || p.Scope == ScopeFull), scope == ScopeFull && p.Scope == ScopeFull:
		return nil
	}
	return refusal(CodeScope, ReasonSendingOnly)
}

func checkKind(p Principal, kinds []Kind) *Error {
	switch {
	case p.Kind == "":
		return refusal(CodeMissing, ReasonNobody)
	case !slices.Contains(kinds, p.Kind):
		return refusal(CodeKind, ReasonOtherKind)
	}
	return nil
}

func checkAccess(p Principal, row Row) *Error {
	switch {
	case p.Kind == "":
		return refusal(CodeMissing, ReasonNobody)
	case p.TenantID == uuid.Nil || p.TenantID != row.TenantID:
		return refusal(CodeAccess, ReasonOtherTenant)
	case p.Role == RoleAdmin:
		return nil
	case p.Role == RoleUser && p.UserID != uuid.Nil && p.UserID == row.UserID:
		return nil
	}
	return refusal(CodeAccess, ReasonOtherUser)
}
