# METADATA
# title: Tests of what an agent may do
# description: >-
#   Run twice, in OPA and in the engine of the gate. Of data/ only the scale is used; everything else is below, so
#   that the data can be replaced.
package leasegate.authz_test

import data.leasegate.authz

profiles := {
	"support": {
		"stages": ["observe", "draft", "execute"],
		"backends": {"crm": {"verbs": ["read", "list", "update", "delete"], "ceiling": "restricted"}},
		"calls_per_minute": {"lease": 120, "agent": 1200},
		"delegates": true,
	},
	"support-trial": {
		"stages": ["observe", "draft"],
		"backends": {"crm": {"verbs": ["read", "list", "update"], "ceiling": "confidential"}},
		"calls_per_minute": {"lease": 30, "agent": 300},
	},
	"leasegate-console": {
		"stages": ["observe"],
		"backends": {"crm": {"verbs": ["read", "list"], "ceiling": "restricted"}},
		"calls_per_minute": {"lease": 60, "agent": 1200},
	},
	"leasegate-drill": {
		"stages": ["observe"],
		"backends": {"leasegate": {"verbs": ["read"], "ceiling": "public"}},
		"calls_per_minute": {"lease": 1000000, "agent": 1000000},
	},
}

users := {
	"alice@example.com": {"groups": ["support"]},
	"carol@example.com": {"groups": [], "backends": {"crm": {"verbs": ["read", "list"], "ceiling": "restricted"}}},
	"bob@example.com": {"groups": [], "backends": {"crm": {"verbs": ["read"], "ceiling": "internal"}}},
}

groups := {"support": {"backends": {"crm": {
	"verbs": ["read", "list", "update", "delete"],
	"ceiling": "restricted",
}}}}

approvers := {"crm": {
	"approvers": ["group:crm-owners"],
	"expires_in": 600,
	"quorum": 1,
	"after_lease": 3600,
	"repeat": {"calls": 5, "seconds": 600},
}}

reading := {
	"version": 1,
	"lease": {
		"id": "lse_1",
		"user": "alice@example.com",
		"agent": {"id": "agent:support-triage", "version": "3.2.1", "env": "prod", "profile": "support"},
		"task": {"system": "jira", "id": "SUP-4711", "purpose": "answer the customer's billing question"},
		"stage": "observe",
		"session": "ses_1",
		"delegated_by": [],
		"granted": [{"actions": ["read"], "resource": "crm:customer/9821", "sensitivity": "confidential"}],
		"age_seconds": 12,
		"expires_in_seconds": 288,
	},
	"request": {
		"backend": "crm",
		"operation": "GET /customers/{id}",
		"verb": "read",
		"resource": "crm:customer/9821",
		"sensitivity": "confidential",
		"risk": "low",
		"method": "GET",
		"path": "/customers/9821",
		"params": {"id": "9821"},
		"query": {},
		"body": null,
	},
	"context": {
		"now": 1795300012,
		"source_ip": "10.1.2.3",
		"recent_calls": {"lease_1m": 4, "agent_1m": 40},
		"provenance": "untrusted",
		"approval": null,
	},
}

deleting := object.union(reading, {
	"lease": {
		"stage": "execute",
		"granted": [{"actions": ["delete"], "resource": "crm:customer/*", "sensitivity": "restricted"}],
	},
	"request": {"verb": "delete", "sensitivity": "restricted", "risk": "high", "method": "DELETE"},
	"context": {"provenance": "trusted"},
})

updating := object.union(reading, {
	"lease": {
		"stage": "execute",
		"granted": [{"actions": ["update"], "resource": "crm:customer/9821", "sensitivity": "confidential"}],
	},
	"request": {"verb": "update", "risk": "medium", "method": "PATCH", "body": {"city": "Oslo"}},
	"context": {"provenance": "trusted"},
})

drilling := object.union(reading, {
	"lease": {
		"user": "drill-x7f3-lease",
		"agent": {"id": "agent:leasegate-drill-x7f3-lease", "profile": "leasegate-drill"},
		"granted": [{"actions": ["read"], "resource": "leasegate:canary", "sensitivity": "public"}],
	},
	"request": {"backend": "leasegate", "resource": "leasegate:canary", "sensitivity": "public"},
})

approved_by(person) := approved_by_all([person])

approved_by_all(people) := {"context": {"approval": {"id": "act_1", "approved_by": people, "kind": "exact"}}}

# Asks under the data above, which a test changes with, for example, `with groups as {}`.
answer(request) := answer_under(request, profiles)

answer_under(request, these) := decision if {
	decision := authz.decision with input as request
		with data.profiles as these
		with data.users as users
		with data.groups as groups
		with data.approvers as approvers
}

# Each of these must be the whole answer: one reason more would be a second rule that fired.
allowed(request) if answer(request) == {"effect": "allow", "reasons": []}

denied(request, reasons) if answer(request) == {"effect": "deny", "reasons": reasons}

# Of high risk a yes needs a reason.
held(request, reasons) if {
	needs_reason := "high_risk_needs_approval" in reasons
	approval := object.union(approvers.crm, {"reason_required": needs_reason})
	answer(request) == {"effect": "hold", "reasons": reasons, "approval": approval}
}

drafted(request, needs_reason) if answer(request) == {
	"effect": "draft",
	"reasons": ["stage_draft_writes_are_drafts"],
	"approval": object.union(approvers.crm, {"reason_required": needs_reason}),
}

test_a_read_within_the_lease_is_allowed if allowed(reading)

test_an_update_asked_for_by_trusted_content_is_allowed if allowed(updating)

test_another_verb_is_denied if {
	denied(object.union(reading, {"request": {"verb": "list"}}), {"verb_not_in_lease"})
}

test_another_resource_is_denied if {
	denied(object.union(reading, {"request": {"resource": "crm:customer/98210"}}), {"resource_not_in_lease"})
}

test_a_resource_is_not_covered_by_a_prefix_of_its_segment if {
	grant := {"actions": ["read"], "resource": "crm:customer/98/*", "sensitivity": "confidential"}
	denied(object.union(reading, {"lease": {"granted": [grant]}}), {"resource_not_in_lease"})
}

test_the_parent_itself_is_not_below_itself if {
	grant := {"actions": ["read"], "resource": "crm:customer/*", "sensitivity": "confidential"}
	request := object.union(reading, {"lease": {"granted": [grant]}, "request": {"resource": "crm:customer/"}})
	denied(request, {"resource_not_in_lease"})
}

test_everything_below_the_parent_is_covered if {
	grant := {"actions": ["*"], "resource": "crm:customer/*", "sensitivity": "confidential"}
	request := object.union(reading, {"lease": {"granted": [grant]}, "request": {"resource": "crm:customer/1/note/2"}})
	allowed(request)
}

test_grants_are_alternatives if {
	other := {"actions": ["list"], "resource": "crm:customer", "sensitivity": "internal"}
	allowed(object.union(reading, {"lease": {"granted": array.concat([other], reading.lease.granted)}}))
}

test_grants_are_never_combined if {
	verb := {"actions": ["read"], "resource": "crm:customer/1", "sensitivity": "confidential"}
	resource := {"actions": ["update"], "resource": "crm:customer/9821", "sensitivity": "confidential"}
	denied(object.union(reading, {"lease": {"granted": [verb, resource]}}), {"resource_not_in_lease"})
}

test_a_lease_without_grants_covers_nothing if {
	denied(object.union(reading, {"lease": {"granted": []}}), {"verb_not_in_lease"})
}

test_sensitivity_above_the_grant_is_denied if {
	denied(object.union(reading, {"request": {"sensitivity": "restricted"}}), {"sensitivity_above_ceiling"})
}

test_sensitivity_off_the_scale_is_denied if {
	reasons := {"sensitivity_above_ceiling", "user_not_entitled"}
	denied(object.union(reading, {"request": {"sensitivity": "off the scale"}}), reasons)
}

test_sensitivity_above_the_profile_is_denied if {
	trial := object.union(updating, {"lease": {
		"stage": "draft",
		"agent": {"profile": "support-trial"},
		"granted": [{"actions": ["update"], "resource": "crm:customer/9821", "sensitivity": "restricted"}],
	}})
	denied(object.union(trial, {"request": {"sensitivity": "restricted"}}), {"sensitivity_above_ceiling"})
}

test_an_observer_does_not_write if {
	denied(object.union(updating, {"lease": {"stage": "observe"}}), {"stage_observe_is_read_only"})
}

test_an_environment_outside_the_profile_is_denied if {
	these := object.union(profiles, {"support": {"envs": ["dev"]}})
	answer_under(reading, these) == {"effect": "deny", "reasons": {"agent_env_not_permitted"}}
	answer_under(object.union(reading, {"lease": {"agent": {"env": "dev"}}}), these) == {"effect": "allow", "reasons": []}
}

test_a_stage_outside_the_profile_is_denied if {
	trial := object.union(updating, {"lease": {"agent": {"profile": "support-trial"}}})
	denied(trial, {"agent_profile_lacks_stage"})
}

test_a_verb_outside_the_profile_is_denied if {
	trial := object.union(deleting, {"lease": {"stage": "draft", "agent": {"profile": "support-trial"}}})
	denied(trial, {"agent_profile_lacks_verb"})
}

test_an_unknown_profile_is_denied if {
	reasons := {"agent_profile_lacks_stage", "agent_profile_lacks_verb", "rate_exceeded"}
	denied(object.union(reading, {"lease": {"agent": {"profile": "unheard-of"}}}), reasons)
}

test_an_unknown_user_is_denied if {
	denied(object.union(reading, {"lease": {"user": "mallory@example.com"}}), {"user_not_entitled"})
}

# The agent with the profile `by` has handed the lease on.
handed_on(request, by) := object.union(request, {"lease": {"delegated_by": [
	{"id": "agent:planner", "version": "1.4.0", "profile": "support"},
	{"id": "agent:boss", "version": "2.0.0", "profile": by},
]}})

test_what_each_delegating_agent_could_do_itself_is_allowed if allowed(handed_on(reading, "support"))

test_nobody_hands_on[name] if {
	some name, request in {
		"what their profile does not reach": handed_on(deleting, "no-delete"),
		"a stage their profile lacks": handed_on(updating, "observer"),
		"above their ceiling": handed_on(reading, "public-only"),
		"without the right to hand on": handed_on(reading, "keeps"),
		"under a profile that is gone": handed_on(reading, "unheard-of"),
	}
	crm := profiles.support.backends.crm
	others := {
		"no-delete": {"backends": {"crm": object.union(crm, {"verbs": ["read"]})}},
		"observer": {"stages": ["observe"]},
		"public-only": {"backends": {"crm": object.union(crm, {"ceiling": "public"})}},
		"keeps": {"delegates": false},
	}
	these := object.union(profiles, {other: object.union(profiles.support, changes) |
		some other, changes in others
	})
	decision := answer_under(request, these)
	decision == {"effect": "deny", "reasons": {"delegating_agent_not_permitted"}}
}

test_an_entitlement_of_the_user_alone_counts if {
	bob := {"lease": {"user": "bob@example.com"}, "request": {"sensitivity": "internal"}}
	allowed(object.union(reading, bob))
}

test_an_entitlement_reaches_only_its_ceiling if {
	denied(object.union(reading, {"lease": {"user": "bob@example.com"}}), {"user_not_entitled"})
}

test_a_right_taken_from_the_group_is_gone_at_once if denied(reading, {"user_not_entitled"}) with groups as {}

test_another_backend_is_denied if {
	reasons := {"agent_profile_lacks_verb", "user_not_entitled"}
	denied(object.union(reading, {"request": {"backend": "billing"}}), reasons)
}

test_a_drill_calls_the_canary_of_a_gate if allowed(drilling)

test_the_user_of_a_drill_can_do_nothing_else if {
	denied(object.union(reading, {"lease": {"user": "drill-x7f3-lease"}}), {"user_not_entitled"})
}

test_somebody_real_does_not_call_the_canary_for_it if {
	denied(object.union(drilling, {"lease": {"user": "alice@example.com"}}), {"user_not_entitled"})
}

test_another_agent_does_not_call_the_canary if {
	reasons := {"agent_profile_lacks_verb", "user_not_entitled"}
	denied(object.union(drilling, {"lease": {"agent": {"profile": "support"}}}), reasons)
}

test_one_call_too_many_of_the_lease_is_denied if {
	allowed(object.union(reading, {"context": {"recent_calls": {"lease_1m": 119}}}))
	denied(object.union(reading, {"context": {"recent_calls": {"lease_1m": 120}}}), {"rate_exceeded"})
}

test_one_call_too_many_of_the_agent_is_denied if {
	allowed(object.union(reading, {"context": {"recent_calls": {"agent_1m": 1199}}}))
	denied(object.union(reading, {"context": {"recent_calls": {"agent_1m": 1200}}}), {"rate_exceeded"})
}

test_a_draft_is_a_draft_whatever_its_risk if {
	drafted(draft_of(updating), false)
	drafted(draft_of(deleting), true)
}

draft_of(request) := object.union(request, {"lease": {"stage": "draft"}})

test_a_draft_still_reads if allowed(object.union(reading, {"lease": {"stage": "draft"}}))

test_a_draft_is_executed_once_approved if {
	allowed(object.union(draft_of(updating), approved_by("carol@example.com")))
	allowed(object.union(draft_of(deleting), approved_by("carol@example.com")))
}

test_nobody_releases_their_own_draft if {
	drafted(object.union(draft_of(updating), approved_by("alice@example.com")), false)
}

test_high_risk_waits_for_a_human if held(deleting, {"high_risk_needs_approval"})

test_high_risk_is_allowed_once_approved if {
	allowed(object.union(deleting, approved_by("carol@example.com")))
}

test_nobody_approves_their_own_request if {
	held(object.union(deleting, approved_by("alice@example.com")), {"high_risk_needs_approval"})
}

test_an_approval_by_nobody_is_none if {
	held(object.union(deleting, approved_by_all([])), {"high_risk_needs_approval"})
}

test_a_repeat_counts_as_an_approval if {
	repeat := {"context": {"approval": {"id": "rep_1", "approved_by": ["carol@example.com"], "kind": "repeat"}}}
	allowed(object.union(deleting, repeat))
}

test_as_many_as_asked_for_say_yes[name] if {
	some name, [people, effect] in {
		"two": [["carol@example.com", "dan@example.com"], "allow"],
		"one": [["carol@example.com"], "hold"],
		"one twice": [["carol@example.com", "carol@example.com"], "hold"],
		"one and the user": [["carol@example.com", "alice@example.com"], "hold"],
	}
	two := object.union(approvers, {"crm": {"quorum": 2}})
	decision := answer(object.union(deleting, approved_by_all(people))) with approvers as two
	decision.effect == effect
	object.get(decision, ["approval", "quorum"], 2) == 2
}

test_a_backend_may_want_a_reason_for_every_yes if {
	always := object.union(approvers, {"crm": {"reason_required": true}})
	decision := answer(draft_of(updating)) with approvers as always
	decision.approval == always.crm
}

test_an_approval_does_not_widen_the_lease if {
	other := object.union(deleting, {"request": {"resource": "crm:invoice/1"}})
	denied(object.union(other, approved_by("carol@example.com")), {"resource_not_in_lease"})
}

test_risk_that_untrusted_content_asked_for_waits_for_a_human if {
	untrusted := {"context": {"provenance": "untrusted"}}
	held(object.union(updating, untrusted), {"untrusted_provenance"})
	held(object.union(deleting, untrusted), {"high_risk_needs_approval", "untrusted_provenance"})
}

test_unknown_words_count_as_the_worst if {
	held(object.union(updating, {"context": {"provenance": "probably fine"}}), {"untrusted_provenance"})
	held(object.union(updating, {"request": {"risk": "unrated"}}), {"high_risk_needs_approval"})
}

test_without_anybody_to_ask_it_is_denied[name] if {
	some name, these in {
		"no entry": {},
		"no approvers": {"crm": {"expires_in": 600}},
		"nobody": {"crm": {"approvers": [], "expires_in": 600}},
	}
	every request in [deleting, draft_of(updating)] {
		denied(request, {"no_approver_named"}) with approvers as these
	}
}

test_an_approval_is_worth_nothing_once_nobody_is_named if {
	approved := object.union(deleting, approved_by("carol@example.com"))
	denied(approved, {"no_approver_named"}) with approvers as {}
}

test_what_an_approver_is_shown_is_a_read_of_their_own if {
	agent := {"id": "agent:leasegate-console", "profile": "leasegate-console"}
	console := {"lease": {"user": "carol@example.com", "agent": agent}}
	allowed(object.union(reading, console))
	denied(object.union(reading, {"lease": {"agent": agent, "user": "bob@example.com"}}), {"user_not_entitled"})
	writing := object.union(object.union(updating, console), {"lease": {"stage": "observe"}})
	denied(writing, {"agent_profile_lacks_verb", "stage_observe_is_read_only", "user_not_entitled"})
}

test_an_empty_input_is_denied if answer({}).effect == "deny"
