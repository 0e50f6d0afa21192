// What the answer of each entry point is made of: its words and members.
//
//go:build js && wasm

package main

// answerShape is what a decision may be made of, as src/policy reads it.
type answerShape struct {
	// asker asks, subjects are what it asks about: words for messages.
	asker, subjects string
	members         []string
	effects         []string
	// codes are the words of `code`.
	codes []string
	// objects are the members of members, all needed, of the members that are objects.
	objects map[string][]string
	// optional are further members that those may have.
	optional map[string][]string
	// approved are the effects that need an approval; the others have none.
	approved []string
}

// neededMembers are those of every decision; each effect has its own beside them.
var neededMembers = []string{"effect", "reasons"}

var approvalMembers = []string{"approvers", "expires_in"}

var approvalOptions = map[string][]string{"approval": {"quorum", "reason_required", "after_lease", "repeat"}}

// gateAnswer is read by src/policy/evaluate.ts.
var gateAnswer = answerShape{
	asker:    "gate",
	subjects: "requests",
	members:  []string{"effect", "reasons", "approval"},
	effects:  []string{"allow", "deny", "hold", "draft"},
	objects:  map[string][]string{"approval": approvalMembers},
	optional: approvalOptions,
	approved: []string{"hold", "draft"},
}

// issueAnswer is read by src/policy/issue_answer.ts.
var issueAnswer = answerShape{
	asker:    "broker",
	subjects: "requests for a lease",
	members:  []string{"effect", "reasons", "grant", "code", "approval"},
	effects:  []string{"grant", "deny", "approve"},
	codes: []string{"access_denied", "invalid_request", "invalid_authorization_details", "invalid_scope", "invalid_target",
		"invalid_dpop_proof", "unauthorized_client"},
	objects: map[string][]string{
		"approval": approvalMembers,
		"grant":    {"details", "stage", "ttl_seconds", "lease_seconds", "profile_version"},
	},
	optional: approvalOptions,
	approved: []string{"approve"},
}
