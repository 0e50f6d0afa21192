# METADATA
# title: Tests of what an agent may be given
# description: >-
#   Run twice, in OPA and in the engine of the gate. Of data/ only the scale is used; everything else is below, so
#   that the data can be replaced.
package leasegate.issue_test

import data.leasegate.issue

support := {
	"version": "9",
	"stages": ["observe", "draft", "execute"],
	"backends": {
		"crm": {"verbs": ["read", "list", "update", "delete"], "ceiling": "restricted"},
		"billing": {"verbs": ["read"], "ceiling": "internal"},
	},
	"max_ttl_seconds": 300,
	"max_lease_seconds": 3600,
	"task_required": true,
	"needs_binding": false,
	"delegates": true,
	"defaults": [
		{"type": "lease", "actions": ["read", "update"], "identifier": "crm:customer/*", "sensitivity": "restricted"},
		{"type": "lease", "actions": ["read"], "identifier": "billing:invoice/*", "sensitivity": "confidential"},
	],
}

profiles := {
	"support": support,
	"planner": object.union(support, {
		"version": "3",
		"backends": {"crm": {"verbs": ["read", "list"], "ceiling": "confidential"}},
		"max_ttl_seconds": 60,
		"max_lease_seconds": 600,
	}),
	"approved": object.union(support, {"approval": {
		"stages": ["draft", "execute"],
		"approvers": ["group:crm-owners"],
		"expires_in": 600,
	}}),
	"office": object.union(support, {"hours": {"days": ["mon", "tue"], "from": 8, "to": 17.5}}),
	"night": object.union(support, {"hours": {"days": ["mon", "tue"], "from": 22, "to": 6}}),
}

users := {
	"alice@example.com": {"groups": ["support"]},
	"bob@example.com": {"groups": [], "backends": {"crm": {"verbs": ["read"], "ceiling": "internal"}}},
}

groups := {"support": {"backends": {
	"crm": {"verbs": ["read", "list", "update"], "ceiling": "confidential"},
	"billing": {"verbs": ["read"], "ceiling": "confidential"},
}}}

tasks := {"closed": ["jira:SUP-1"]}

reads(identifier) := {
	"type": "lease",
	"actions": ["read"],
	"identifier": identifier,
	"sensitivity": "confidential",
}

asking := {
	"version": 1,
	"user": {
		"id": "alice@example.com",
		"kind": "user",
		"issuer": "https://login.example.com",
		"groups": [],
		"auth_time": null,
		"acr": null,
	},
	"agent": {
		"id": "agent:support-triage",
		"version": "3.2.1",
		"env": "prod",
		"profile": "support",
		"tenant": "",
		"authenticated_by": "private_key_jwt",
		"bound": true,
	},
	"delegated_by": [],
	"request": {
		"kind": "exchange",
		"details": [reads("crm:customer/9821")],
		"backends": ["crm"],
		"stage": "observe",
		"ttl_seconds": 300,
		"lease_seconds": 3600,
		"task": {"system": "jira", "id": "SUP-4711", "purpose": "answer the customer's billing question"},
	},
	"parent": null,
	"context": {"now": 1795300012, "weekday": "mon", "hour": 9, "minute": 30, "approved_by": null},
}

# What a test changes, one member of the request each.
with_request(changes) := object.union(asking, {"request": changes})

with_profile(name) := object.union(asking, {"agent": {"profile": name}})

left_to_policy := with_request({"details": null})

detail(changes) := object.union(reads("crm:customer/9821"), changes)

planned := {"id": "agent:planner", "version": "1.4.0", "profile": "planner"}

# Asks under the data above, which a test changes with, for example, `with groups as {}`.
answer(request) := answer_under(request, profiles)

answer_under(request, these) := decision if {
	decision := issue.decision with input as request
		with data.profiles as these
		with data.users as users
		with data.groups as groups
		with data.tasks as tasks
}

# Each of these must be the whole answer: one reason more would be a second rule that fired.
granted(request, grant) if {
	terms := {
		"details": request.request.details,
		"stage": request.request.stage,
		"ttl_seconds": 300,
		"lease_seconds": 3600,
		"profile_version": "9",
	}
	answer(request) == {"effect": "grant", "reasons": [], "grant": object.union(terms, grant)}
}

denied(request, code, reasons) if {
	answer(request) == {"effect": "deny", "reasons": reasons, "code": code}
}

test_what_user_and_profile_have_is_granted_as_asked if granted(asking, {})

test_exact_details_are_never_narrowed[name] if {
	some name, [changes, reasons] in {
		"another verb": [{"actions": ["read", "export"]}, {
			"agent_profile_lacks_right",
			"stage_observe_is_read_only",
			"user_not_entitled",
		}],
		"every verb": [{"actions": ["*"]}, {
			"agent_profile_lacks_right",
			"stage_observe_is_read_only",
			"user_not_entitled",
		}],
		"above the user's ceiling": [{"sensitivity": "restricted"}, {"user_not_entitled"}],
		"a write while observing": [{"actions": ["update"]}, {"stage_observe_is_read_only"}],
		"another backend": [{"identifier": "wiki:page/1"}, {"agent_profile_lacks_right", "user_not_entitled"}],
		"above the profile's ceiling": [{"identifier": "billing:invoice/1"}, {"agent_profile_lacks_right"}],
		"off the scale": [{"sensitivity": "secret"}, {"agent_profile_lacks_right", "user_not_entitled"}],
	}
	denied(with_request({"details": [detail(changes)]}), "invalid_authorization_details", reasons)
}

test_only_the_user_has_the_right if {
	update := with_request({"stage": "draft", "details": [detail({"actions": ["update"]})]})
	granted(update, {})
	planner := object.union(update, {"agent": {"profile": "planner"}})
	denied(planner, "invalid_authorization_details", {"agent_profile_lacks_right"})
}

test_only_the_agent_has_the_right if {
	delete := with_request({"stage": "draft", "details": [detail({"actions": ["delete"]})]})
	denied(delete, "invalid_authorization_details", {"user_not_entitled"})
}

test_one_bad_detail_spoils_the_request if {
	details := array.concat(asking.request.details, [reads("wiki:page/1")])
	reasons := {"agent_profile_lacks_right", "user_not_entitled"}
	denied(with_request({"details": details}), "invalid_authorization_details", reasons)
}

test_no_details_at_all_are_none if {
	denied(with_request({"details": []}), "invalid_authorization_details", {"nothing_asked"})
	denied(with_request({"details": [detail({"actions": []})]}), "invalid_authorization_details", set())
}

test_what_is_left_to_policy_is_the_intersection if {
	details := [detail({"identifier": "crm:customer/*"})]
	granted(left_to_policy, {"details": details})
}

test_a_stage_that_writes_gets_the_writes if {
	request := object.union(left_to_policy, {"request": {"stage": "draft"}})
	details := [detail({"identifier": "crm:customer/*", "actions": ["read", "update"]})]
	granted(request, {"details": details})
}

test_what_is_left_to_policy_covers_the_backends_asked_for if {
	billing := detail({"identifier": "billing:invoice/*", "sensitivity": "internal"})
	request := object.union(left_to_policy, {"request": {"backends": ["billing"]}})
	granted(request, {"details": [billing]})
	everywhere := object.union(left_to_policy, {"request": {"backends": []}})
	granted(everywhere, {"details": [detail({"identifier": "crm:customer/*"}), billing]})
}

test_narrowing_keeps_the_constraints if {
	wanted := detail({"constraints": {"max_calls": 20}})
	these := object.union(profiles, {"support": {"defaults": [wanted]}})
	answer_under(left_to_policy, these).grant.details == [wanted]
}

test_a_verb_that_reaches_less_high_is_a_detail_of_its_own if {
	bob := object.union(left_to_policy, {"user": {"id": "bob@example.com"}})
	granted(bob, {"details": [detail({"identifier": "crm:customer/*", "sensitivity": "internal"})]})
}

test_a_right_taken_from_the_group_is_gone_at_once if {
	denied(asking, "invalid_authorization_details", {"user_not_entitled"}) with groups as {}
	denied(left_to_policy, "invalid_scope", {"nothing_left"}) with groups as {}
}

test_a_user_without_an_entry_gets_nothing if {
	mallory := {"user": {"id": "mallory@example.com", "groups": ["support"]}}
	denied(object.union(asking, mallory), "invalid_authorization_details", {"user_not_entitled"})
	denied(object.union(left_to_policy, mallory), "invalid_scope", {"nothing_left"})
}

test_an_unknown_profile_gets_nothing if {
	reasons := {"agent_profile_lacks_right", "agent_profile_lacks_stage", "agent_profile_unknown"}
	denied(with_profile("unheard-of"), "unauthorized_client", reasons)
}

test_a_renewal_is_narrowed_to_what_is_left_of_the_lease if {
	parent := {
		"id": "lse_1",
		"stage": "draft",
		"details": [detail({"actions": ["read", "update", "delete"], "sensitivity": "restricted"})],
	}
	request := object.union(left_to_policy, {"parent": parent, "request": {"kind": "renewal", "stage": "draft"}})
	granted(request, {"details": [detail({"actions": ["read", "update"]})]})
}

test_times_are_cut_to_the_profile if {
	granted(with_request({"ttl_seconds": 100, "lease_seconds": 900}), {"ttl_seconds": 100, "lease_seconds": 900})
	granted(with_request({"ttl_seconds": 301, "lease_seconds": 999999}), {})
}

test_every_agent_on_the_way_counts if {
	handed_on := object.union(asking, {"delegated_by": [planned], "request": {"kind": "delegation"}})
	granted(handed_on, {"ttl_seconds": 60, "lease_seconds": 600})
	update := object.union(handed_on, {"request": {"stage": "draft", "details": [detail({"actions": ["update"]})]}})
	denied(update, "invalid_authorization_details", {"agent_profile_lacks_right"})
}

test_an_agent_that_may_not_delegate_does_not if {
	handed_on := object.union(asking, {"delegated_by": [planned]})
	these := object.union(profiles, {"planner": {"delegates": false}})
	reasons := {"delegation_not_permitted"}
	answer_under(handed_on, these) == {"effect": "deny", "code": "access_denied", "reasons": reasons}
}

test_a_delegation_by_nobody_is_none if {
	denied(with_request({"kind": "delegation"}), "access_denied", {"delegation_not_permitted"})
}

test_a_delegating_agent_without_a_profile_passes_nothing_on if {
	gone := object.union(planned, {"profile": "unheard-of"})
	reasons := {
		"agent_profile_lacks_right",
		"agent_profile_lacks_stage",
		"agent_profile_unknown",
		"delegation_not_permitted",
	}
	denied(object.union(asking, {"delegated_by": [planned, gone]}), "unauthorized_client", reasons)
}

test_a_stage_outside_the_profile_is_denied if {
	these := object.union(profiles, {"support": {"stages": ["draft"]}})
	reasons := {"agent_profile_lacks_stage"}
	answer_under(asking, these) == {"effect": "deny", "code": "access_denied", "reasons": reasons}
}

test_a_task_is_named_unless_the_profile_says_otherwise if {
	aimless := with_request({"task": null})
	denied(aimless, "invalid_request", {"task_required"})
	these := object.union(profiles, {"support": {"task_required": false}})
	answer_under(aimless, these).effect == "grant"
}

test_a_closed_task_gets_no_lease[name] if {
	closed := {"id": "SUP-1"}
	some name, request in {
		"asked for": with_request({"task": closed}),
		"left to policy": object.union(left_to_policy, {"request": {"task": closed}}),
		"renewed": with_request({"kind": "renewal", "task": closed}),
	}
	denied(request, "invalid_request", {"task_closed"})
}

test_a_task_that_only_looks_like_a_closed_one_is_open[name] if {
	some name, task in {"longer": {"id": "SUP-11"}, "elsewhere": {"system": "github", "id": "SUP-1"}}
	granted(with_request({"task": task}), {})
}

test_without_a_list_no_task_is_open[name] if {
	some name, data_of_tasks in {"nothing": {}, "no list": {"closed": "jira:SUP-1"}}
	denied(asking, "invalid_request", {"task_closed"}) with tasks as data_of_tasks
}

test_without_a_list_no_task_is_still_none if {
	these := object.union(profiles, {"support": {"task_required": false}})
	granted(with_request({"task": null}), {}) with profiles as these with tasks as {}
}

test_a_key_is_proven_where_the_profile_asks_for_it if {
	bearer := object.union(asking, {"agent": {"bound": false}})
	granted(bearer, {})
	these := object.union(profiles, {"support": {"needs_binding": true}})
	reasons := {"binding_required"}
	answer_under(bearer, these) == {"effect": "deny", "code": "invalid_dpop_proof", "reasons": reasons}
	answer_under(asking, these).effect == "grant"
}

# A word that the profile forgot is the strict one.
test_a_profile_without_a_word_is_strict[word] if {
	some word, request in {
		"needs_binding": object.union(asking, {"agent": {"bound": false}}),
		"task_required": with_request({"task": null}),
		"max_ttl_seconds": asking,
		"max_lease_seconds": asking,
		"version": asking,
		"stages": asking,
		"backends": asking,
		"delegates": object.union(asking, {"delegated_by": [object.union(planned, {"profile": "support"})]}),
	}
	lenient := object.union(support, {"task_required": false})
	answer_under(request, {"support": lenient}).effect == "grant"
	answer_under(request, {"support": object.remove(lenient, [word])}).effect == "deny"
}

test_a_limit_that_is_no_number_limits_to_nothing if {
	these := object.union(profiles, {"support": {"max_ttl_seconds": "300"}})
	reasons := {"agent_profile_lacks_limits"}
	answer_under(asking, these) == {"effect": "deny", "code": "access_denied", "reasons": reasons}
}

test_hours[name] if {
	some name, [profile, weekday, hour, minute, open] in {
		"at the first minute": ["office", "mon", 8, 0, true],
		"a minute before": ["office", "mon", 7, 59, false],
		"in the last minute": ["office", "tue", 17, 29, true],
		"at the end": ["office", "tue", 17, 30, false],
		"on another day": ["office", "wed", 9, 0, false],
		"before midnight": ["night", "mon", 23, 0, true],
		"after midnight": ["night", "tue", 5, 59, true],
		"by day": ["night", "tue", 6, 0, false],
	}
	time := {"weekday": weekday, "hour": hour, "minute": minute}
	hours_hold(object.union(with_profile(profile), {"context": time}), open)
}

hours_hold(request, true) if granted(request, {})

hours_hold(request, false) if denied(request, "access_denied", {"outside_hours"})

test_an_environment_outside_the_profile_is_denied if {
	these := object.union(profiles, {"support": {"envs": ["dev"]}})
	reasons := {"agent_env_not_permitted"}
	answer_under(asking, these) == {"effect": "deny", "code": "access_denied", "reasons": reasons}
	answer_under(object.union(asking, {"agent": {"env": "dev"}}), these).effect == "grant"
}

drafting := object.union(with_profile("approved"), {"request": {"stage": "draft"}})

test_a_stage_that_needs_a_yes_waits_for_it if {
	decision := answer(drafting)
	decision.effect == "approve"
	decision.reasons == ["stage_needs_approval"]
	decision.approval == {"approvers": ["group:crm-owners"], "expires_in": 600}
	decision.grant.details == drafting.request.details
	granted(with_profile("approved"), {})
}

test_a_yes_of_somebody_else_counts[name] if {
	some name, [people, effect] in {
		"of a colleague": [["carol@example.com"], "grant"],
		"of a colleague and the user": [["alice@example.com", "carol@example.com"], "grant"],
		"of the user alone": [["alice@example.com"], "approve"],
		"of nobody": [[], "approve"],
	}
	answer(object.union(drafting, {"context": {"approved_by": people}})).effect == effect
}

test_as_many_as_asked_for_say_yes[name] if {
	some name, [people, effect] in {
		"two": [["carol@example.com", "dan@example.com"], "grant"],
		"one": [["carol@example.com"], "approve"],
		"one twice": [["carol@example.com", "carol@example.com"], "approve"],
		"one and the user": [["carol@example.com", "alice@example.com"], "approve"],
	}
	two := object.union(profiles, {"approved": {"approval": {"quorum": 2}}})
	decision := answer_under(object.union(drafting, {"context": {"approved_by": people}}), two)
	decision.effect == effect
	object.get(decision, ["approval", "quorum"], 2) == 2
}

test_a_yes_does_not_widen if {
	more := object.union(drafting, {
		"request": {"details": [detail({"actions": ["delete"]})]},
		"context": {"approved_by": ["carol@example.com"]},
	})
	denied(more, "invalid_authorization_details", {"user_not_entitled"})
}

test_a_renewal_goes_on_without_another_yes if {
	parent := {"id": "lse_1", "stage": "draft", "details": drafting.request.details}
	renewal := object.union(drafting, {"parent": parent, "request": {"kind": "renewal"}})
	granted(renewal, {})
	delegation := object.union(renewal, {"delegated_by": [planned], "request": {"kind": "delegation"}})
	drafts := object.union(profiles, {"planner": support})
	answer_under(delegation, drafts).effect == "approve"
	answer(object.union(renewal, {"parent": {"stage": "observe"}})).effect == "approve"
}

test_without_anybody_to_ask_it_is_denied if {
	every approval in [{"stages": ["draft"]}, {"stages": ["draft"], "approvers": [], "expires_in": 600}] {
		nobody := object.union(support, {"approval": approval})
		reasons := {"no_approver_named"}
		answer_under(drafting, {"approved": nobody}) == {"effect": "deny", "code": "access_denied", "reasons": reasons}
	}
}

test_an_empty_input_is_denied if answer({}).effect == "deny"
