package tokenattack

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

// claimAttacks are signed with the right secret: an issuer that errs, or one that lets others choose claims.
func (s Suite) claimAttacks(now time.Time) []Attack {
	var all []Attack
	sign := hs256([]byte(s.Secret))
	add := func(name string, payload any) { all = append(all, Attack{name, forge(header(nil), payload, sign)}) }
	with := func(name string, value any) map[string]any { return s.claims(now, map[string]any{name: value}) }

	for _, name := range []string{"tenant_id", "user_id", "role", "exp"} {
		add("missing "+name, with(name, nil))
	}
	// Every claim with every wrong type.
	values := map[string]any{
		"null": null(), "true": true, "false": false, "object": map[string]any{}, "array": []any{}, "nested": []any{[]any{s.Tenant}},
		"number": 1, "float": 1.5, "string": "x", "empty string": "", "array of itself": []any{"admin"}, "object with value": map[string]any{"value": "admin"},
	}
	right := map[string][]string{
		"jti": {"string"}, "iss": {"string", "empty string"}, "sub": {"string", "empty string"},
		// A number is the right type for a time: its value is another family of attacks.
		"exp": {}, "nbf": {"number", "float"}, "iat": {"number", "float"},
	}
	for _, claim := range []string{"tenant_id", "user_id", "role", "exp", "nbf", "iat", "jti", "iss", "sub", "aud"} {
		for kind, value := range values {
			if !contains(right[claim], kind) {
				add(claim+" is "+kind, with(claim, value))
			}
		}
	}
	add("aud for somebody else", with("aud", "https://other.example"))
	add("aud for somebody else, in an array", with("aud", []string{"https://other.example"}))
	add("aud with null in it", with("aud", []any{null()}))

	// Names match letter for letter, and stand once.
	for _, name := range []string{"ROLE", "Role", "rol\u0435", "role ", " role", "role\u0000"} {
		c := with("role", nil)
		c[name] = "admin"
		add(fmt.Sprintf("claim named %q", name), c)
	}
	for _, name := range []string{"TENANT_ID", "Tenant_Id", "tenantId", "tenant-id", "tenant_\u0131d", "\u212aid"} {
		c := with("tenant_id", nil)
		c[name] = s.Tenant
		add(fmt.Sprintf("claim named %q", name), c)
	}
	c := with("exp", nil)
	c["EXP"], c["Exp"] = now.Add(time.Hour).Unix(), now.Add(time.Hour).Unix()
	add("claim named EXP", c)
	whole := strings.TrimSuffix(toJSON(s.claims(now, nil)), "}")
	for _, more := range []string{
		`"role":"user"`, `"role":"admin"`, `"\u0072ole":"user"`, `"tenant_id":"` + s.OtherTenant + `"`, `"user_id":"` + s.OtherUser + `"`,
		`"exp":9999999999`, `"nbf":0`, `"iat":0`, `"jti":"x"`, `"x":1,"x":2`, `"deep":{"a":1,"a":2}`, `"deep":[{"b":{"a":1,"a":1}}]`,
	} {
		add("duplicate "+more, whole+","+more+"}")
	}

	for name, value := range map[string]string{
		"nil UUID": "00000000-0000-0000-0000-000000000000", "no hyphens": strings.ReplaceAll(s.Tenant, "-", ""), "braces": "{" + s.Tenant + "}",
		"urn": "urn:uuid:" + s.Tenant, "trailing space": s.Tenant + " ", "leading space": " " + s.Tenant, "newline": s.Tenant + "\n", "null octet": s.Tenant + "\x00",
		"short": s.Tenant[:35], "long": s.Tenant + "0", "not hexadecimal": s.Tenant[:35] + "g", "number": "1", "star": "*", "SQL": "' OR 1=1 --",
		"two": s.Tenant + "," + s.OtherTenant, "fullwidth": s.Tenant[:35] + "ａ", "path": "../" + s.Tenant, "hyphens elsewhere": "0192f00-00000-7000-8000-00000000000a",
	} {
		add("tenant_id "+name, with("tenant_id", value))
		add("user_id "+name, with("user_id", value))
	}
	add("jti too long", with("jti", strings.Repeat("j", 1025)))
	return all
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

func (s Suite) timeAttacks(now time.Time) []Attack {
	var all []Attack
	sign := hs256([]byte(s.Secret))
	hour := now.Add(time.Hour).Unix()
	for name, exp := range map[string]string{
		"just past leeway": fmt.Sprint(now.Unix() - 32), "a day ago": fmt.Sprint(now.Unix() - 86400), "1970": "0", "1": "1",
		"negative": "-1", "very negative": "-99999999999", "minus zero": "-0", "year 10000": "253402300800", "end of time": fmt.Sprint(int64(math.MaxInt64)),
		"beyond int64": "9223372036854775808", "beyond uint64": "18446744073709551617", "wraps to good": fmt.Sprintf("%d", uint64(1)<<63+uint64(hour)),
		"exponent": "1e10", "exponent in capitals": "1E10", "huge exponent": "1e400", "exponent with sign": "9e+9", "fraction and exponent": "1.7e9",
		"milliseconds": fmt.Sprint(now.Add(time.Hour).UnixMilli()), "nanoseconds": fmt.Sprint(now.Add(time.Hour).UnixNano()),
		"many digits": "1" + strings.Repeat("0", 400), "long fraction": fmt.Sprintf("%d.%s", hour, strings.Repeat("1", 100)),
		"string of a number": fmt.Sprintf(`"%d"`, hour), "string of a date": `"2099-01-01T00:00:00Z"`, "400 days": fmt.Sprint(now.AddDate(0, 0, 400).Unix()), "year 9999": "253402300799",
		"array of a number": fmt.Sprintf("[%d]", hour), "object of a number": fmt.Sprintf(`{"$date":%d}`, hour), "hexadecimal string": `"0x7fffffff"`,
	} {
		all = append(all, Attack{"exp " + name, forge(header(nil), s.claims(now, map[string]any{"exp": json.RawMessage(exp)}), sign)})
	}
	for _, claim := range []string{"nbf", "iat"} {
		for name, value := range map[string]string{
			"just past leeway": fmt.Sprint(now.Unix() + 45), "tomorrow": fmt.Sprint(now.Unix() + 86400), "year 9999": "253402300799",
			"year 10000": "253402300800", "negative": "-1", "exponent": "1e9", "beyond int64": "9223372036854775808", "milliseconds": fmt.Sprint(now.UnixMilli()),
			"string of a number": fmt.Sprintf(`"%d"`, now.Unix()), "empty array": "[]",
		} {
			all = append(all, Attack{claim + " " + name, forge(header(nil), s.claims(now, map[string]any{claim: json.RawMessage(value)}), sign)})
		}
	}
	return all
}

func (s Suite) roleAttacks(now time.Time) []Attack {
	var all []Attack
	sign := hs256([]byte(s.Secret))
	for _, role := range []string{
		"", " ", "Admin", "ADMIN", "aDmin", "admin ", " admin", "admin\n", "admin\x00", "admin\t", "admin,user", "user,admin", "user admin", "admin|user",
		"administrator", "root", "superuser", "super_admin", "owner", "operator", "system", "service", "null", "undefined", "true", "1", "*", ".*",
		"\u0430dmin", "adm\u0456n", "ad\u200bmin", "\ufeffadmin", "admin\u00a0", "ａｄｍｉｎ", "adm\u0131n", "a\u0301dmin", "\u202enimda", "USER", "User", "user ", "us\u0435r",
		"user'--", "admin' OR '1'='1", "../admin", "admin%00", "admin\\u0000", "[\"admin\"]", "{\"role\":\"admin\"}", strings.Repeat("admin", 200), "admin\ufffd",
	} {
		all = append(all, Attack{fmt.Sprintf("role %.40q", role), forge(header(nil), s.claims(now, map[string]any{"role": role}), sign)})
	}
	for _, role := range []any{[]string{"admin"}, []string{"user", "admin"}, map[string]bool{"admin": true}, 7, []any{null()}} {
		all = append(all, Attack{fmt.Sprintf("role as %v", role), forge(header(nil), s.claims(now, map[string]any{"role": role}), sign)})
	}
	for _, role := range []string{`"admin\ud800"`, "\"admin\xff\"", `"\ud83d"`} {
		text := strings.Replace(toJSON(s.claims(now, nil)), `"role":"admin"`, `"role":`+role, 1)
		all = append(all, Attack{fmt.Sprintf("role text %q", role), forge(header(nil), text, sign)})
	}
	return all
}

// shapeAttacks are no tokens at all, or too much of one.
func (s Suite) shapeAttacks(now time.Time, good string) []Attack {
	var all []Attack
	sign := hs256([]byte(s.Secret))
	parts := strings.Split(good, ".")
	add := func(name, token string) { all = append(all, Attack{name, token}) }
	for i, part := range parts {
		for _, cut := range []int{0, 1, len(part) / 2, len(part) - 1} {
			p := append([]string(nil), parts...)
			p[i] = part[:cut]
			add(fmt.Sprintf("part %d cut to %d of %d", i, cut, len(part)), strings.Join(p, "."))
		}
	}
	for name, token := range map[string]string{
		"one part": parts[0], "dots": "..", "four dots": "....", "dot": ".", "five parts as JWE": good + "." + parts[0] + "." + parts[1],
		"four parts": good + ".x", "leading dot": "." + good, "doubled": good + good, "standard base64": strings.ReplaceAll(good, "_", "/") + "+",
		"letter": "a", "long letters": strings.Repeat("a", 8<<10), "reversed parts": parts[2] + "." + parts[1] + "." + parts[0],
		"padded parts": parts[0] + "=." + parts[1] + "=." + parts[2] + "=", "slash": parts[0] + "." + parts[1] + "./" + parts[2],
	} {
		add(name, token)
	}
	for name, payload := range map[string]string{
		"empty": "", "null": "null", "array": "[]", "array with the claims": "[" + toJSON(s.claims(now, nil)) + "]", "string": `"claims"`, "number": "1",
		"empty object": "{}", "not JSON": "claims", "cut": toJSON(s.claims(now, nil))[:100], "behind it": toJSON(s.claims(now, nil)) + "x", "twice": toJSON(s.claims(now, nil)) + toJSON(s.claims(now, nil)),
		"BOM": "\ufeff" + toJSON(s.claims(now, nil)), "not UTF-8": `{"x":"` + "\xff" + `",` + toJSON(s.claims(now, nil))[1:], "comment": "/**/" + toJSON(s.claims(now, nil)),
		"trailing comma": strings.TrimSuffix(toJSON(s.claims(now, nil)), "}") + ",}", "single quotes": strings.ReplaceAll(toJSON(s.claims(now, nil)), `"`, "'"),
		"array bomb":    `{"x":` + strings.Repeat("[", 2500) + strings.Repeat("]", 2500) + "," + toJSON(s.claims(now, nil))[1:],
		"object bomb":   `{"x":` + strings.Repeat(`{"a":`, 900) + "1" + strings.Repeat("}", 900) + "," + toJSON(s.claims(now, nil))[1:],
		"unclosed bomb": strings.Repeat(`[`, 5000), "many members": manyMembers(800) + toJSON(s.claims(now, nil))[1:],
		"nested token": `"` + good + `"`,
	} {
		add("payload "+name, forge(header(nil), payload, sign))
	}
	for name, h := range map[string]string{
		"empty": "", "null": "null", "array": `["HS256"]`, "array of header": "[" + toJSON(header(nil)) + "]", "not JSON": "alg", "empty object": "{}",
		"array bomb": strings.Repeat("[", 1000), "object bomb": strings.Repeat(`{"alg":`, 200), "closed bomb": `{"x":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `,"alg":"HS256","kid":"hs"}`,
		"long": toJSON(header(map[string]any{"x": strings.Repeat("x", 3000)})), "behind it": toJSON(header(nil)) + "{}", "not UTF-8": `{"alg":"HS256","kid":"hs","x":"` + "\xff" + `"}`,
		"many members": manyMembers(180) + toJSON(header(nil))[1:],
	} {
		add("header "+name, forge(h, s.claims(now, nil), sign))
	}
	for _, size := range []int{8<<10 + 1, 64 << 10, 1 << 20} {
		token := forge(header(nil), s.claims(now, map[string]any{"x": strings.Repeat("x", size)}), sign)
		add(fmt.Sprintf("good but %d octets", size), token)
	}
	return all
}

func manyMembers(n int) string {
	var b strings.Builder
	b.WriteString("{")
	for i := range n {
		fmt.Fprintf(&b, `"%d":1,`, i)
	}
	return b.String()
}
