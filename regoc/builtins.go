// The name of a builtin of OPA that policies may not call in; why not, and what to write instead, out.
//
//go:build js && wasm

package main

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// instead is what to write in place of a builtin, by its name or by the name of its family.
var instead = map[string]string{
	"time.now_ns":              "policy has no clock: input.context.now is the time in seconds",
	"time":                     "compare seconds: input.context.now, and times in data/ as seconds",
	"http.send":                "policy has no network: put what it needs into data/",
	"net.lookup_ip_addr":       "policy has no network: put addresses into data/ and use net.cidr_contains",
	"opa.runtime":              "policy sees no environment: put settings into data/",
	"sprintf":                  "write a template string, $\"limit {n}\", or concat(\" \", [...])",
	"print":                    "write a test: a failing one shows the input and what came out",
	"trace":                    "write a test: a failing one shows the input and what came out",
	"to_number":                "the engines read numbers differently: put numbers into data/ as numbers",
	"replace":                  "an empty search never ends in WebAssembly: concat(new, split(text, old))",
	"strings.replace_n":        "an empty search never ends in WebAssembly: concat(new, split(text, old))",
	"json.unmarshal":           "the engines read JSON differently: input.request.body is parsed already",
	"json.marshal":             "the engines write JSON differently: compare values, not their text",
	"json.is_valid":            "the engines read JSON differently: input.request.body is parsed already",
	"json.patch":               "object.union and json.remove change a copy",
	"base64":                   "the engines decode differently: compare with base64.encode of what you expect",
	"base64url":                "the engines decode differently: compare with base64url.encode of what you expect",
	"indexof":                  "contains, startswith and endswith are there",
	"indexof_n":                "contains, startswith and endswith are there",
	"strings.count":            "count(split(text, part)) - 1",
	"strings.any_prefix_match": "some prefix in prefixes; startswith(text, prefix)",
	"strings.any_suffix_match": "some suffix in suffixes; endswith(text, suffix)",
	"floor":                    "the engines differ below zero: compare instead of rounding, or use round",
	"ceil":                     "the engines differ below zero: compare instead of rounding, or use round",
	"product":                  "the engines differ on fractions: multiply with *",
	"regex":                    "regex.match and regex.find_all_string_submatch_n are there",
	"re_match":                 "regex.match is its name now",
	"any":                      "write true in xs",
	"all":                      "write not false in xs",
	"set_diff":                 "write a - b",
	"object.subset":            "every key, value in small { large[key] == value }",
	"net.cidr_expand":          "net.cidr_contains asks without listing",
	"net.cidr_overlap":         "net.cidr_intersects is its name now",
	"numbers.range_step":       "numbers.range",
	"rand.intn":                "a decision must come out the same when it is asked again",
	"uuid":                     "a decision must come out the same when it is asked again",
	"io.jwt":                   "the gate has verified the token: its claims are in input.lease",
	"crypto":                   "compare values: data/ may hold them as they are",
	"rego.metadata":            "put what you need into a rule or into data/",
	"rego.parse_module":        "put what you need into a rule or into data/",
	"semver":                   "split(version, \".\") and compare the parts",
	"units":                    "put sizes into data/ as numbers",
	"glob.quote_meta":          "startswith and endswith need no quoting",
}

// unavailable is the hint about a builtin that OPA has and Leasegate does not offer; "" for any other name.
func unavailable(name string) string {
	if _, found := ast.BuiltinMap[name]; !found {
		return ""
	}
	for key := name; ; {
		if text, found := instead[key]; found {
			return text
		}
		dot := strings.LastIndex(key, ".")
		if dot < 0 {
			return "the builtins that mean the same in both engines are listed in docs/policy.md"
		}
		key = key[:dot]
	}
}
