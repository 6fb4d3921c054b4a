package httpapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/http"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

func (s *Server) userRoutes() {
	admin := members(auth.RoleAdmin)
	register(s, operation{
		ID: "create-user", Method: http.MethodPost, Path: "/v1/users", Tag: tagUsers, Access: admin, Status: http.StatusCreated, Errors: []int{http.StatusConflict},
		Summary: "Create a user",
		Detail:  "Without a password one is made, and shown this once.",
	}, s.createUser)
	register(s, operation{ID: "list-users", Method: http.MethodGet, Path: "/v1/users", Tag: tagUsers, Access: admin, Summary: "List the tenant's users, newest first"}, s.listUsers)
	register(s, operation{ID: "get-user", Method: http.MethodGet, Path: "/v1/users/{id}", Tag: tagUsers, Access: admin, Summary: "Get a user"}, s.getUser)
	register(s, operation{
		ID: "update-user", Method: http.MethodPatch, Path: "/v1/users/{id}", Tag: tagUsers, Access: admin, Errors: []int{http.StatusConflict},
		Summary: "Change a user's address, name, role or state",
		Detail:  "Another role, and being suspended, end the user's sessions and tokens at once. A tenant keeps one active admin.",
	}, s.updateUser)
	register(s, operation{
		ID: "reset-password", Method: http.MethodPost, Path: "/v1/users/{id}/password", Tag: tagUsers, Access: admin,
		Summary: "Set a user's password",
		Detail:  "The user's sessions and tokens end. Without a password one is made, and shown this once.",
	}, s.resetPassword)
}

func userOf(u store.User) api.User {
	return api.User{
		ID: u.ID.String(), Email: u.Email, Name: u.Name, Role: string(u.Role), State: string(u.State),
		CreatedAt: u.CreatedAt.UTC(), UpdatedAt: u.UpdatedAt.UTC(),
	}
}

// newPassword hashes the password that was given, or makes one, which is then returned to be shown.
func (s *Server) newPassword(ctx context.Context, given, pointer string) (shown, hash string, err error) {
	if given == "" {
		given = rand.Text() // 128 bits in 26 letters and digits
		shown = given
	}
	if hash, err = s.cfg.Passwords.Hash(ctx, auth.NewSecret(given)); err != nil {
		err = at(problemOf(err), pointer)
	}
	return shown, hash, err
}

// at moves the fault of a password to the field that it came in.
func at(p *problem, pointer string) error {
	for i := range p.Errors {
		p.Errors[i].Pointer = pointer
	}
	return p
}

func (s *Server) createUser(ctx context.Context, in *bodyOf[api.NewUser]) (*bodyOf[api.CreatedUser], error) {
	shown, hash, err := s.newPassword(ctx, in.Body.Password, "/password")
	if err != nil {
		return nil, err
	}
	user, err := s.tenantOf(ctx).CreateUser(ctx, store.NewUser{
		Email: in.Body.Email, Name: in.Body.Name, Role: cmp.Or(auth.Role(in.Body.Role), auth.RoleUser), PasswordHash: hash,
	}, actor(ctx))
	if err != nil {
		return nil, err
	}
	s.standing.forget(user.TenantID, user.ID)
	return &bodyOf[api.CreatedUser]{Body: api.CreatedUser{User: userOf(user), Password: shown}}, nil
}

func (s *Server) listUsers(ctx context.Context, in *PageOf) (*bodyOf[api.Users], error) {
	users, next, err := s.tenantOf(ctx).Users(ctx, in.page())
	if err != nil {
		return nil, err
	}
	return &bodyOf[api.Users]{Body: api.Users{Data: each(users, userOf), Next: next}}, nil
}

// each translates a list. It is never null.
func each[T, U any](list []T, f func(T) U) []U {
	out := make([]U, 0, len(list))
	for _, one := range list {
		out = append(out, f(one))
	}
	return out
}

func (s *Server) getUser(ctx context.Context, in *ByID) (*bodyOf[api.User], error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	user, err := s.tenantOf(ctx).User(ctx, id)
	return answer(userOf(user), err)
}

func (s *Server) updateUser(ctx context.Context, in *struct {
	ByID
	Body api.UserPatch
},
) (*bodyOf[api.User], error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	user, err := s.tenantOf(ctx).UpdateUser(ctx, id, store.UserPatch{
		Email: in.Body.Email, Name: in.Body.Name, Role: (*auth.Role)(in.Body.Role), State: (*store.State)(in.Body.State),
	}, actor(ctx))
	s.standing.forget(caller(ctx).TenantID, id)
	return answer(userOf(user), err)
}

func (s *Server) resetPassword(ctx context.Context, in *struct {
	ByID
	Body api.ResetPasswordRequest
},
) (*bodyOf[api.ResetPassword], error) {
	id, err := in.uuid()
	if err != nil {
		return nil, err
	}
	tenant := s.tenantOf(ctx)
	if _, err := tenant.User(ctx, id); err != nil { // before the work of hashing
		return nil, err
	}
	shown, hash, err := s.newPassword(ctx, in.Body.NewPassword, "/new_password")
	if err != nil {
		return nil, err
	}
	err = tenant.SetPassword(ctx, id, hash, actor(ctx))
	s.standing.forget(caller(ctx).TenantID, id)
	return answer(api.ResetPassword{Password: shown}, err)
}
