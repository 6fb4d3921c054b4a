-- The message side: relays, messages, the spool, events, counters.
--
-- Ids are UUIDv7 as 16 octets, times microseconds UTC. Keys that lists are read by begin with the tenant, so that a page of
-- them is one range. The others begin with the id: what many tenants add at a time lies side by side then, and a commit
-- writes fewer pages.

-- +goose Up
create table relays (
	id             blob not null primary key,
	tenant_id      blob references tenants (id), -- NULL: the operator's
	name           text not null,                -- empty for an inline relay
	fingerprint    blob,                            -- of an inline relay: what it is found again by
	host           text not null,
	port           integer not null,
	tls            text not null check (tls in ('none', 'tls', 'ssl')),
	username       text not null,
	has_password   integer not null,
	helo           text not null,
	from_domains   text not null,
	limits         text not null,
	retry_schedule text not null,
	give_up_after  integer not null,                -- milliseconds
	ca_cert        text not null,
	skip_verify    integer not null,
	pause_kind     text not null default '' check (pause_kind in ('', 'tenant', 'operator', 'auth')),
	pause_reason   text not null default '',
	paused_at      integer,
	not_before     integer,
	state          text,                            -- what the node that drained it left for the next
	drained_by     blob,                            -- that node's incarnation
	created_at     integer not null,
	updated_at     integer not null,
	deleted_at     integer
) strict;
create unique index relays_name on relays (coalesce(tenant_id, x'00'), name) where deleted_at is null and fingerprint is null;
create unique index relays_fingerprint on relays (coalesce(tenant_id, x'00'), fingerprint) where deleted_at is null and fingerprint is not null;
create index relays_tenant on relays (tenant_id, id);

create table relay_credentials (
	relay_id  blob not null primary key references relays (id),
	tenant_id blob references tenants (id),
	sealed    blob not null
) strict;

-- Who may use a relay: its owner and those it is shared with. Rows stay when a relay is taken away, since messages
-- refer to them.
create table relay_grants (
	tenant_id  blob not null references tenants (id),
	relay_id   blob not null references relays (id),
	active     integer not null,
	created_at integer not null,
	primary key (tenant_id, relay_id)
) strict, without rowid;
create index relay_grants_relay on relay_grants (relay_id);

-- One row: the operator's hold on everything.
create table service_pause (
	id     integer not null primary key check (id = 1),
	paused integer not null,
	reason text not null,
	at     integer
) strict;
insert into service_pause (id, paused, reason) values (1, 0, '');

create table messages (
	tenant_id      blob not null,
	id             blob not null,
	user_id        blob not null,
	relay_id       blob not null,
	class          integer not null,
	state          text not null,
	content_id     blob not null,
	mail_from      text not null,
	header_from    text not null,
	subject        text not null,
	header_id      text not null,
	size           integer not null,
	smtputf8       integer not null,
	eight_bit      integer not null,
	require_tls    integer not null,
	dsn            text,
	on_unknown     text not null check (on_unknown in ('retry', 'hold')),
	tags           text,
	metadata       text,
	test           integer not null,
	attempts       integer not null default 0,
	created_at     integer not null,
	send_at        integer,
	give_up_at     integer,
	finished_at    integer,
	content_purged integer not null default 0,
	-- What lists by state look for: most messages are sent, or will be in a moment, and those are found without an index.
	other_state    text generated always as (case when state in ('queued', 'sent') then null else state end) virtual,
	primary key (tenant_id, id),
	foreign key (tenant_id, relay_id) references relay_grants (tenant_id, relay_id)
) strict, without rowid;
-- Beside the key no index begins with the tenant: PostgreSQL, which knows nothing yet of a new table, would take it for as good as
-- the key, and read all of the tenant's (measured: keys checked at 2 ms a message).
create index messages_user on messages (user_id, tenant_id, id);
create index messages_relay on messages (relay_id, tenant_id, id);
create index messages_state on messages (tenant_id, other_state, id) where other_state is not null;
create index messages_test on messages (tenant_id, id) where test;

create table message_tags (
	tenant_id  blob not null,
	tag        text not null,
	message_id blob not null,
	primary key (tag, tenant_id, message_id),
	foreign key (tenant_id, message_id) references messages (tenant_id, id) on delete cascade
) strict, without rowid;
create index message_tags_message on message_tags (message_id, tenant_id);

-- Rows that come with every message (recipients, attempts, contents, spool) have no key to the message: they are written where it is written
-- or locked and removed where it is removed, and the check costs as much as the row.
create table recipients (
	tenant_id  blob not null,
	message_id blob not null,
	n          integer not null,
	address    text not null,
	field      text not null,
	state      text not null,
	again      integer not null default 0, -- unknown, and tried once more
	notify     text not null,
	orcpt      text not null,
	code       integer not null default 0,
	enhanced   text not null default '',
	text       text not null default '',
	updated_at integer not null,
	-- What lists by recipient look for.
	address_key text generated always as (lower(address)) virtual,
	primary key (message_id, tenant_id, n)
) strict, without rowid;
create index recipients_address on recipients (address_key, tenant_id, message_id);

create table attempts (
	tenant_id  blob not null,
	message_id blob not null,
	id         blob not null,
	n          integer not null,
	started_at integer,
	ended_at   integer,
	phase      text not null,
	status     text not null,
	code       integer not null,
	enhanced   text not null,
	text       text not null,
	transcript text not null,
	primary key (message_id, tenant_id, id)
) strict, without rowid;

-- The frozen messages, in pieces of at most 256 KiB. A table with a rowid: two messages of 2 KB share a page.
create table contents (
	tenant_id blob not null,
	id        blob not null,
	piece     integer not null,
	data      blob not null,
	primary key (id, tenant_id, piece)
) strict;

-- Contents that no message refers to yet.
create table uploads (
	tenant_id  blob not null references tenants (id),
	id         blob not null,
	size       integer, -- NULL until all of it is there
	created_at integer not null,
	primary key (tenant_id, id)
) strict, without rowid;

-- One row for each message with open recipients.
create table spool (
	tenant_id      blob not null,
	message_id     blob not null,
	relay_id       blob not null,
	class          integer not null,
	due            integer not null,
	recipients     integer not null, -- of the message, open or not
	hold           integer not null, -- after an unknown outcome nothing more is tried
	attempts       integer not null default 0, -- made so far
	claim          blob,                       -- incarnation of the node that sends it now
	claimed_at     integer,
	marked         integer not null default 0, -- the content of this claim may be accepted
	unknown_before integer not null default 0, -- an earlier attempt may have been accepted
	primary key (message_id, tenant_id)
) strict, without rowid;
create index spool_due on spool (relay_id, tenant_id, class, due, message_id) where claim is null;
create index spool_claimed on spool (relay_id, claim) where claim is not null;

create table events (
	tenant_id  blob not null,
	seq        integer not null,
	at         integer not null,
	kind       text not null,
	message_id blob,
	relay_id   blob,
	n          integer not null,
	attempt    integer not null,
	code       integer not null,
	enhanced   text not null,
	text       text not null,
	primary key (tenant_id, seq)
) strict, without rowid;

-- The last number given to an event. Updated last in each transaction, tenants in order.
create table event_counters (
	tenant_id blob not null primary key references tenants (id),
	last      integer not null
) strict, without rowid;

create table idempotency (
	tenant_id   blob not null references tenants (id),
	user_id     blob not null,
	scope       text not null,
	key         text not null,
	fingerprint blob not null,
	status      integer not null,
	response    blob not null,
	expires_at  integer not null,
	primary key (tenant_id, user_id, scope, key)
) strict, without rowid;
create index idempotency_expiry on idempotency (expires_at);

-- What quotas are measured against. Accepts write tenant_usage, ends of messages tenant_finished, so that neither waits
-- for the other; queued is accepted - finished.
create table tenant_usage (
	tenant_id blob not null primary key references tenants (id),
	day       text not null, -- 2006-01-02, UTC
	in_day    integer not null,
	in_month  integer not null, -- of day's month
	accepted  integer not null
) strict, without rowid;
create table tenant_finished (
	tenant_id blob not null primary key references tenants (id),
	finished  integer not null
) strict, without rowid;

-- Counts by the hour: kind is accepted (messages) or a recipient's state (recipients that got into it).
create table message_stats (
	tenant_id blob not null,
	hour      integer not null,
	relay_id  blob not null,
	kind      text not null,
	count     integer not null,
	primary key (tenant_id, hour, relay_id, kind)
) strict, without rowid;

-- +goose Down
drop table message_stats;
drop table tenant_finished;
drop table tenant_usage;
drop table idempotency;
drop table event_counters;
drop table events;
drop table spool;
drop table uploads;
drop table contents;
drop table attempts;
drop table recipients;
drop table message_tags;
drop table messages;
drop table service_pause;
drop table relay_grants;
drop table relay_credentials;
drop table relays;
