package store_test

// What the roles of the service may do with each table, and no more. A migration that grants something adds it here,
// and thinks of whether it is needed. s, i, u, d: SELECT, INSERT, UPDATE (also of some columns only), DELETE.
type grants struct {
	api, delivery string
}

func expectedGrants() map[string]grants {
	return map[string]grants{
		"goose_db_version": {api: "s", delivery: "s"},
		"schema_state":     {api: "s", delivery: "s"},
		"installation":     {delivery: "su"},
		"tenants":          {api: "siu", delivery: "s"},
		"tenant_settings":  {api: "siu", delivery: "s"},
		"tenant_quotas":    {api: "siu"},
		"users":            {api: "siu"},
		"api_keys":         {api: "siu"},
		"sessions":         {api: "siu", delivery: "sd"},
		"refresh_tokens":   {api: "siu", delivery: "sd"},
		"revoked_tokens":   {api: "siu", delivery: "sd"},

		"audit_entries":     {api: "si", delivery: "si"},
		"audit_people":      {api: "si", delivery: "sid"},
		"audit_pending":     {delivery: "sd"},
		"audit_chain":       {delivery: "si"},
		"audit_checkpoints": {delivery: "si"},

		"relays":            {api: "siu", delivery: "su"},
		"relay_credentials": {api: "siud", delivery: "s"},
		"relay_grants":      {api: "siu", delivery: "s"},
		"service_pause":     {api: "su", delivery: "s"},
		"messages":          {api: "siud", delivery: "sud"},
		"message_tags":      {api: "si"},
		"recipients":        {api: "siud", delivery: "sud"},
		"attempts":          {api: "sd", delivery: "siud"},
		"contents":          {api: "sid", delivery: "sd"},
		"uploads":           {api: "siud", delivery: "sd"},
		"spool":             {api: "siud", delivery: "sud"},
		"events":            {api: "si", delivery: "sid"},
		"event_counters":    {api: "siu", delivery: "siu"},
		"idempotency":       {api: "siud", delivery: "sd"},
		"tenant_usage":      {api: "siu", delivery: "s"},
		"tenant_finished":   {api: "siu", delivery: "siu"},
		"message_stats":     {api: "siu", delivery: "siud"},

		"nodes": {delivery: "siud"},
	}
}

// tenantColumns names the column that says whose a row is, where it is not tenant_id.
func tenantColumns() map[string]string {
	return map[string]string{"tenants": "id"}
}

// sharedTables hold nothing of any tenant.
func sharedTables() []string {
	return []string{"goose_db_version", "audit_checkpoints", "service_pause", "nodes", "schema_state", "installation"}
}

// operatorTables are those in which the operator, without a tenant, sees rows of tenants.
func operatorTables() []string { return []string{"tenants", "tenant_quotas", "relay_grants"} }

// globalUnique are the unique indexes without the tenant that tell no tenant anything, each with the reason.
func globalUnique() map[string]string {
	return map[string]string{
		"tenants_name_unique": "only the operator adds tenants",
		"audit_chain_pkey":    "the API cannot touch the chain, and the chainer works for no tenant",
	}
}

// definers are the functions that run with their owner's rights, each with the reason.
func definers() map[string]string {
	return map[string]string{"audit_wait": "a trigger that notes each audit entry for the chain, which the API cannot touch"}
}

// seedValues are SQL expressions for columns, as table.column, whose values the walker cannot guess from their type
// and constraints.
func seedValues() map[string]string { return map[string]string{} }
