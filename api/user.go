package api

import "time"

// User is a person or a program that belongs to a tenant.
type User struct {
	ID        string    `json:"id" format:"uuid"`
	Email     string    `json:"email"`
	Name      string    `json:"name"`
	Role      string    `json:"role" enum:"user,admin"`
	State     string    `json:"state" enum:"active,suspended"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// NewUser is a user to be created.
type NewUser struct {
	Email    string `json:"email" minLength:"3" maxLength:"254" example:"ann@example.com"`
	Name     string `json:"name,omitempty" maxLength:"200"`
	Role     string `json:"role,omitempty" enum:"user,admin" default:"user"`
	Password string `json:"password,omitempty" maxLength:"1024" doc:"At least 10 characters, at most 1024 octets. If it is left out, a random one is made and answered once."`
}

// CreatedUser is a new user, with the password if the service made it.
type CreatedUser struct {
	User
	Password string `json:"password,omitempty" doc:"The password that was made; it is not shown again."`
}

// UserPatch changes the members that are given.
type UserPatch struct {
	Email *string `json:"email,omitempty" minLength:"3" maxLength:"254"`
	Name  *string `json:"name,omitempty" maxLength:"200"`
	Role  *string `json:"role,omitempty" enum:"user,admin" doc:"Ends the user's sessions and tokens."`
	State *string `json:"state,omitempty" enum:"active,suspended" doc:"suspended ends the user's sessions and tokens, and stops its API keys."`
}

// ResetPasswordRequest sets somebody's password. All sessions and tokens of that user end.
type ResetPasswordRequest struct {
	NewPassword string `json:"new_password,omitempty" maxLength:"1024" doc:"If it is left out, a random one is made and answered once."`
}

// ResetPassword is the answer to it.
type ResetPassword struct {
	Password string `json:"password,omitempty" doc:"The password that was made; it is not shown again."`
}

// Users is a page of users, newest first.
type Users struct {
	Data []User `json:"data"`
	Next string `json:"next,omitempty" doc:"Goes into after to get the next page; left out on the last one."`
}
