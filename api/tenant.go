package api

import "time"

// Tenant is one of those who share the installation and know nothing of each other.
type Tenant struct {
	ID        string    `json:"id" format:"uuid"`
	Name      string    `json:"name" example:"acme"`
	State     string    `json:"state" enum:"active,suspended"`
	CreatedAt time.Time `json:"created_at"`
}

// Settings are what an admin of a tenant chooses.
type Settings struct {
	OnUnknown      string     `json:"on_unknown" enum:"retry,hold" doc:"What happens to a message whose final reply was lost: one further attempt, or none until somebody decides."`
	RetentionDays  int        `json:"retention_days" doc:"How many days messages are kept after their last recipient is done."`
	DefaultRelayID string     `json:"default_relay_id,omitempty" format:"uuid" doc:"The relay of messages that name none. Left out: the only one there is."`
	UpdatedAt      *time.Time `json:"updated_at,omitempty"`
}

// SettingsPatch changes the members that are given.
type SettingsPatch struct {
	OnUnknown      *string `json:"on_unknown,omitempty" enum:"retry,hold"`
	RetentionDays  *int    `json:"retention_days,omitempty" minimum:"0" maximum:"3650"`
	DefaultRelayID *string `json:"default_relay_id,omitempty" maxLength:"36" doc:"A relay that the tenant may use; the empty string takes the default away."`
}

// NewTenant is a tenant to be created, with its first admin.
type NewTenant struct {
	Name     string `json:"name" minLength:"1" maxLength:"63" pattern:"^[a-z0-9-]+$" example:"acme"`
	Email    string `json:"email" minLength:"3" maxLength:"254" doc:"The address of the first admin."`
	Password string `json:"password,omitempty" maxLength:"1024" doc:"The first admin's password. If it is left out, a random one is made and answered once."`
	APIKey   bool   `json:"api_key,omitempty" doc:"Make an API key of the admin's, too."`
}

// CreatedTenant is a new tenant with its first admin and what is shown only this once.
type CreatedTenant struct {
	Tenant
	UserID   string `json:"user_id" format:"uuid" doc:"The first admin."`
	Password string `json:"password,omitempty" doc:"The password that was made; it is not shown again."`
	APIKey   string `json:"api_key,omitempty" doc:"The key that was made; it is not shown again."`
}

// Tenants is a page of tenants, newest first.
type Tenants struct {
	Data []Tenant `json:"data"`
	Next string   `json:"next,omitempty" doc:"Goes into after to get the next page; left out on the last one."`
}

// Quotas bound what a tenant may send. 0: no bound.
type Quotas struct {
	MessagesPerDay   int `json:"messages_per_day" minimum:"0" maximum:"1000000000"`
	MessagesPerMonth int `json:"messages_per_month" minimum:"0" maximum:"1000000000"`
	Queued           int `json:"queued" minimum:"0" maximum:"1000000000" doc:"Messages that wait at the same time."`
}
