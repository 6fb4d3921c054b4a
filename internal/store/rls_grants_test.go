package store_test

// What the roles of the service may do with each table, and no more. A migration that grants something adds it here,
// and thinks of whether it is needed. s, i, u, d: SELECT, INSERT, UPDATE (also of some columns only), DELETE.
type grants struct {
	api, delivery string
}

func expectedGrants() map[string]grants {
	return map[string]grants{
		"goose_db_version": {api: "s", delivery: "s"},
		"tenants":          {api: "siu", delivery: "s"},
		"tenant_settings":  {api: "siu", delivery: "s"},
		"tenant_quotas":    {api: "siu"},
		"users":            {api: "siu"},
		"api_keys":         {api: "siu"},
		"sessions":         {api: "siu", delivery: "sd"},
		"refresh_tokens":   {api: "siu", delivery: "sd"},
		"revoked_tokens":   {api: "siu", delivery: "sd"},
		"audit_entries":    {api: "si", delivery: "si"},
		"audit_people":     {api: "si", delivery: "si"},
	}
}

// tenantColumns names the column that says whose a row is, where it is not tenant_id.
func tenantColumns() map[string]string {
	return map[string]string{"tenants": "id"}
}

// sharedTables hold nothing of any tenant and need no policies.
func sharedTables() []string { return []string{"goose_db_version"} }

// operatorTables are those in which the operator, without a tenant, sees rows of tenants.
func operatorTables() []string { return []string{"tenants", "tenant_quotas"} }

// globalUnique are the unique indexes without the tenant that tell nobody anything, each with the reason.
func globalUnique() map[string]string {
	return map[string]string{"tenants_name_unique": "only the operator adds tenants"}
}

// seedValues are SQL expressions for columns, as table.column, whose values the walker cannot guess from their type
// and constraints.
func seedValues() map[string]string { return map[string]string{} }
