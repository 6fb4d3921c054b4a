-- The message side: relays, messages, the spool, events, counters.
--
-- Ids are UUIDv7. Keys that lists are read by begin with the tenant, so that a page of
-- them is one range. The others begin with the id: what many tenants add at a time lies side by side then, and a commit
-- writes fewer pages.

-- +goose Up
create table relays (
	id             uuid not null,
	tenant_id      uuid references tenants (id), -- NULL: the operator's
	name           text not null,                -- empty for an inline relay
	fingerprint    bytea      ,                            -- of an inline relay: what it is found again by
	host           text not null,
	port           integer not null,
	tls            text not null check (tls in ('none', 'tls', 'ssl')),
	username       text not null,
	has_password   boolean not null,
	helo           text not null,
	from_domains   jsonb not null,
	limits         jsonb not null,
	retry_schedule jsonb not null,
	give_up_after  bigint not null,                -- milliseconds
	ca_cert        text not null,
	skip_verify    boolean not null,
	pause_kind     text not null default '' check (pause_kind in ('', 'tenant', 'operator', 'auth')),
	pause_reason   text not null default '',
	paused_at      timestamptz,
	not_before     timestamptz,
	state          jsonb      ,                            -- what the node that drained it left for the next
	drained_by     uuid       ,                            -- that node's incarnation
	created_at     timestamptz not null,
	updated_at     timestamptz not null,
	deleted_at     timestamptz,
	unique (tenant_id, id),
	constraint relays_id unique nulls not distinct (id, tenant_id)
);
create unique index relays_name on relays (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'), name) where deleted_at is null and fingerprint is null;
create unique index relays_fingerprint on relays (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'), fingerprint) where deleted_at is null and fingerprint is not null;

create table relay_credentials (
	relay_id  uuid not null,
	tenant_id uuid,
	sealed    bytea not null,
	constraint relay_credentials_id unique nulls not distinct (relay_id, tenant_id),
	foreign key (tenant_id, relay_id) references relays (tenant_id, id)
);

-- Who may use a relay: its owner and those it is shared with. Rows stay when a relay is taken away, since messages
-- refer to them. That there is such a relay, and whose, the policies ask: a key without the tenant would tell.
create table relay_grants (
	tenant_id  uuid not null references tenants (id),
	relay_id   uuid not null,
	active     boolean not null,
	created_at timestamptz not null,
	primary key (tenant_id, relay_id)
);
create index relay_grants_relay on relay_grants (relay_id);

-- One row: the operator's hold on everything.
create table service_pause (
	id     integer not null primary key check (id = 1),
	paused boolean not null,
	reason text not null,
	at     timestamptz
);
insert into service_pause (id, paused, reason) values (1, false, '');

create table messages (
	tenant_id      uuid not null,
	id             uuid not null,
	user_id        uuid not null,
	relay_id       uuid not null,
	class          smallint not null,
	state          text not null,
	content_id     uuid not null,
	mail_from      text not null,
	header_from    text not null,
	subject        text not null,
	header_id      text not null,
	size           bigint not null,
	smtputf8       boolean not null,
	eight_bit      boolean not null,
	require_tls    boolean not null,
	dsn            jsonb,
	on_unknown     text not null check (on_unknown in ('retry', 'hold')),
	tags           jsonb,
	metadata       jsonb,
	test           boolean not null,
	attempts       integer not null default 0,
	created_at     timestamptz not null,
	send_at        timestamptz,
	give_up_at     timestamptz,
	finished_at    timestamptz,
	content_purged boolean not null default false,
	-- What lists by state look for: most messages are sent, or will be in a moment, and those are found without an index. A column
	-- of its own, so that the change from queued to sent changes no column of an index: the row's new version needs no new entries then.
	other_state    text generated always as (case when state in ('queued', 'sent') then null else state end) stored,
	primary key (tenant_id, id),
	foreign key (tenant_id, relay_id) references relay_grants (tenant_id, relay_id)
);
-- Beside the key no index begins with the tenant: PostgreSQL, which knows nothing yet of a new table, would take it for as good as
-- the key, and read all of the tenant's (measured: keys checked at 2 ms a message).
create index messages_user on messages (user_id, tenant_id, id);
create index messages_relay on messages (relay_id, tenant_id, id);
create index messages_state on messages (tenant_id, other_state, id) where other_state is not null;
create index messages_test on messages (tenant_id, id) where test;

create table message_tags (
	tenant_id  uuid not null,
	tag        text not null,
	message_id uuid not null,
	primary key (tag, tenant_id, message_id),
	foreign key (tenant_id, message_id) references messages (tenant_id, id) on delete cascade
);
create index message_tags_message on message_tags (message_id, tenant_id);

-- Rows that come with every message (recipients, attempts, contents, spool) have no key to the message: they are written where it is written
-- or locked and removed where it is removed, and the check costs as much as the row.
create table recipients (
	tenant_id  uuid not null,
	message_id uuid not null,
	n          integer not null,
	address    text not null,
	field      text not null,
	state      text not null,
	again      boolean not null default false, -- unknown, and tried once more
	notify     text not null,
	orcpt      text not null,
	code       integer not null default 0,
	enhanced   text not null default '',
	text       text not null default '',
	updated_at timestamptz not null,
	-- What lists by recipient look for. A column of its own, since PostgreSQL uses an index under row-level security only for
	-- functions that cannot leak what they are given, and lower() is not known for one: it would read all recipients of all tenants.
	address_key text generated always as (lower(address)) stored,
	primary key (message_id, tenant_id, n)
);
create index recipients_address on recipients (address_key, tenant_id, message_id);

create table attempts (
	tenant_id  uuid not null,
	message_id uuid not null,
	id         uuid not null,
	n          integer not null,
	started_at timestamptz,
	ended_at   timestamptz,
	phase      text not null,
	status     text not null,
	code       integer not null,
	enhanced   text not null,
	text       text not null,
	transcript text not null,
	primary key (message_id, tenant_id, id)
);

-- The frozen messages, in pieces of at most 256 KiB.
create table contents (
	tenant_id uuid not null,
	id        uuid not null,
	piece     integer not null,
	data      bytea not null,
	primary key (id, tenant_id, piece)
);

-- Contents that no message refers to yet.
create table uploads (
	tenant_id  uuid not null references tenants (id),
	id         uuid not null,
	size       bigint     , -- NULL until all of it is there
	created_at timestamptz not null,
	primary key (tenant_id, id)
);

-- One row for each message with open recipients.
create table spool (
	tenant_id      uuid not null,
	message_id     uuid not null,
	relay_id       uuid not null,
	class          smallint not null,
	due            timestamptz not null,
	recipients     integer not null, -- of the message, open or not
	hold           boolean not null, -- after an unknown outcome nothing more is tried
	attempts       integer not null default 0, -- made so far
	claim          uuid,                       -- incarnation of the node that sends it now
	claimed_at     timestamptz,
	marked         boolean not null default false, -- the content of this claim may be accepted
	unknown_before boolean not null default false, -- an earlier attempt may have been accepted
	primary key (message_id, tenant_id)
);
create index spool_due on spool (relay_id, tenant_id, class, due, message_id) where claim is null;
create index spool_claimed on spool (relay_id, claim) where claim is not null;

create table events (
	tenant_id  uuid not null,
	seq        bigint not null,
	at         timestamptz not null,
	kind       text not null,
	message_id uuid,
	relay_id   uuid,
	n          integer not null,
	attempt    integer not null,
	code       integer not null,
	enhanced   text not null,
	text       text not null,
	primary key (tenant_id, seq)
);

-- The last number given to an event. Updated last in each transaction, tenants in order.
create table event_counters (
	tenant_id uuid not null primary key references tenants (id),
	last      bigint not null
);

create table idempotency (
	tenant_id   uuid not null references tenants (id),
	user_id     uuid not null,
	scope       text not null,
	key         text not null,
	fingerprint bytea not null,
	status      integer not null,
	response    bytea not null,
	expires_at  timestamptz not null,
	primary key (tenant_id, user_id, scope, key)
);
create index idempotency_expiry on idempotency (expires_at);

-- What quotas are measured against. Accepts write tenant_usage, ends of messages tenant_finished, so that neither waits
-- for the other; queued is accepted - finished.
create table tenant_usage (
	tenant_id uuid not null primary key references tenants (id),
	day       text not null, -- 2006-01-02, UTC
	in_day    bigint not null,
	in_month  bigint not null, -- of day's month
	accepted  bigint not null
);
create table tenant_finished (
	tenant_id uuid not null primary key references tenants (id),
	finished  bigint not null
);

-- Counts by the hour: kind is accepted (messages) or a recipient's state (recipients that got into it).
create table message_stats (
	tenant_id uuid not null,
	hour      timestamptz not null,
	relay_id  uuid not null,
	kind      text not null,
	count     bigint not null,
	primary key (tenant_id, hour, relay_id, kind)
);

-- Small contents stay in their row, uncompressed: they are read once and soon gone.
alter table contents alter column data set storage external;
alter table contents set (toast_tuple_target = 8160);
-- A queue's dead rows lie where the next claim begins to read.
alter table spool set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0, fillfactor = 70);

-- Nearly every row of these is changed once, soon after it was written: there is room for the new version on the same page.
alter table messages set (fillfactor = 50);
alter table recipients set (fillfactor = 50);

-- Rights: each role what its statements need.
grant select, insert, update on relays, relay_grants, event_counters, tenant_usage, tenant_finished, message_stats to postrider_api;
grant select, insert, update, delete on relay_credentials, messages, spool, uploads, idempotency to postrider_api;
grant select, insert, update, delete on recipients to postrider_api;
grant select, insert, delete on contents to postrider_api;
grant select, insert on message_tags, events to postrider_api;
grant select, delete on attempts to postrider_api;
grant select, update on service_pause to postrider_api;

grant select on relay_credentials, relay_grants, service_pause, tenant_usage to postrider_delivery;
grant select, update on relays to postrider_delivery;
grant select, update, delete on messages, spool, recipients to postrider_delivery;
grant select, insert, update on event_counters, tenant_finished to postrider_delivery;
grant select, insert, update, delete on attempts to postrider_delivery;
grant select, insert, update, delete on message_stats to postrider_delivery;
grant select, delete on contents, uploads, idempotency to postrider_delivery;
grant select, insert, delete on events to postrider_delivery;

-- Rows that belong to one tenant: its requests see them and no others; delivery sees all until it has set the tenant.
call app_protect('messages', api => true, delivery => true);
call app_protect('message_tags', api => true, delivery => true);
call app_protect('recipients', api => true, delivery => true);
call app_protect('attempts', api => true, delivery => true);
call app_protect('contents', api => true, delivery => true);
call app_protect('uploads', api => true, delivery => true);
call app_protect('spool', api => true, delivery => true);
call app_protect('events', api => true, delivery => true);
call app_protect('event_counters', api => true, delivery => true);
call app_protect('idempotency', api => true, delivery => true);
call app_protect('tenant_usage', api => true, delivery => true);
call app_protect('tenant_finished', api => true, delivery => true);
call app_protect('message_stats', api => true, delivery => true);

-- Relays: a tenant sees its own and those that it was given, and changes its own. The operator's have no tenant.
call app_protect('relays', api => false, delivery => false);
create policy api_read on relays for select to postrider_api using (
	tenant_id = app_tenant() or (tenant_id is null and app_operator())
	or exists (select 1 from relay_grants g where g.relay_id = relays.id and g.tenant_id = app_tenant()));
create policy api_insert on relays for insert to postrider_api with check (
	tenant_id = app_tenant() or (tenant_id is null and app_operator()));
create policy api_update on relays for update to postrider_api using (
	tenant_id = app_tenant() or (tenant_id is null and app_operator()));
create policy delivery_all on relays to postrider_delivery using (true);
create policy delivery_tenant on relays as restrictive to postrider_delivery using (
	app_tenant() is null or tenant_id is null or tenant_id = app_tenant());

call app_protect('relay_credentials', api => false, delivery => false);
create policy api_own on relay_credentials to postrider_api using (
	tenant_id = app_tenant() or (tenant_id is null and app_operator()));
create policy delivery_all on relay_credentials to postrider_delivery using (true);
create policy delivery_tenant on relay_credentials as restrictive to postrider_delivery using (
	app_tenant() is null or tenant_id is null or tenant_id = app_tenant());

-- Grants are made by whoever owns the relay, so that no tenant can give itself another's.
call app_protect('relay_grants', api => false, delivery => true);
create policy api_read on relay_grants for select to postrider_api using (tenant_id = app_tenant() or app_operator());
create policy api_insert on relay_grants for insert to postrider_api with check (
	(tenant_id = app_tenant() or app_operator())
	and exists (select 1 from relays r where r.id = relay_id
		and (r.tenant_id = relay_grants.tenant_id or (r.tenant_id is null and app_operator()))));
create policy api_update on relay_grants for update to postrider_api using (
	(tenant_id = app_tenant() or app_operator())
	and exists (select 1 from relays r where r.id = relay_id
		and (r.tenant_id = relay_grants.tenant_id or (r.tenant_id is null and app_operator()))));

-- Everybody may know that the operator holds everything, since it explains why nothing leaves.
alter table service_pause enable row level security;
alter table service_pause force row level security;
create policy api_read on service_pause for select to postrider_api using (true);
create policy api_update on service_pause for update to postrider_api using (app_operator());
create policy delivery_all on service_pause for select to postrider_delivery using (true);

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
