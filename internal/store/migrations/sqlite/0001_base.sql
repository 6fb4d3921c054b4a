-- +goose Up
-- Tenants, users, credentials. Times are microseconds since 1970, UUIDs 16 octets. Ending in _key: a value in the form
-- in which it is compared.

create table tenants (
  id blob not null primary key check (length(id) = 16),
  name text not null,
  state text not null default 'active' check (state in ('active', 'suspended')),
  created_at integer not null,
  updated_at integer not null
) strict;
create unique index tenants_name_unique on tenants (name);
create index tenants_list on tenants (created_at, id);

create table tenant_settings (
  tenant_id blob not null primary key references tenants (id),
  settings text not null,
  updated_at integer not null
) strict;

create table tenant_quotas (
  tenant_id blob not null primary key references tenants (id),
  messages_per_day integer not null default 0 check (messages_per_day >= 0),
  messages_per_month integer not null default 0 check (messages_per_month >= 0),
  queued integer not null default 0 check (queued >= 0),
  updated_at integer not null
) strict;

create table users (
  tenant_id blob not null references tenants (id),
  id blob not null check (length(id) = 16),
  email text,
  email_key text,
  name text not null default '',
  role text not null check (role in ('user', 'admin')),
  state text not null default 'active' check (state in ('active', 'suspended')),
  password_hash text,
  revoked_before integer,
  created_at integer not null,
  updated_at integer not null,
  primary key (tenant_id, id)
) strict;
create unique index users_email_unique on users (tenant_id, email_key);
create index users_list on users (tenant_id, created_at, id);

create table api_keys (
  tenant_id blob not null references tenants (id),
  id blob not null check (length(id) = 16),
  user_id blob not null,
  name text not null default '',
  role text not null check (role in ('user', 'admin')),
  scope text not null check (scope in ('full', 'sending')),
  test integer not null default 0 check (test in (0, 1)),
  hash blob not null check (length(hash) = 32),
  networks text not null default '[]',
  created_at integer not null,
  expires_at integer,
  revoked_at integer,
  last_used_at integer,
  last_used_addr text,
  primary key (tenant_id, id),
  foreign key (tenant_id, user_id) references users (tenant_id, id)
) strict;
create index api_keys_list on api_keys (tenant_id, created_at, id);
create index api_keys_user on api_keys (tenant_id, user_id);

-- A session is what a login began: a family of refresh tokens, of which the last one is good.
create table sessions (
  tenant_id blob not null references tenants (id),
  id blob not null check (length(id) = 16),
  user_id blob not null,
  created_at integer not null,
  expires_at integer not null,
  ended_at integer,
  primary key (tenant_id, id),
  foreign key (tenant_id, user_id) references users (tenant_id, id)
) strict;
create index sessions_user on sessions (tenant_id, user_id);
create index sessions_expiry on sessions (expires_at);

create table refresh_tokens (
  tenant_id blob not null references tenants (id),
  hash blob not null check (length(hash) = 32),
  session_id blob not null,
  created_at integer not null,
  expires_at integer not null,
  used_at integer,
  primary key (tenant_id, hash),
  foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
) strict;
create index refresh_tokens_session on refresh_tokens (tenant_id, session_id);
create index refresh_tokens_expiry on refresh_tokens (expires_at);

create table revoked_tokens (
  tenant_id blob not null references tenants (id),
  token_id text not null,
  user_id blob,
  until integer not null,
  created_at integer not null,
  primary key (tenant_id, token_id)
) strict;
create index revoked_tokens_expiry on revoked_tokens (until);
