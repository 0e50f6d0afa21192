# METADATA
# title: What an agent may be given
# description: >-
#   Decides one request for a lease, before there is one. What is granted is what the user may do, and the agent's
#   profile, and that of every agent that hands the lease on. What cannot be shown to hold is refused.
package leasegate.issue

# METADATA
# title: Decision
# description: The one answer the broker asks for; anything that matches no earlier branch is denied.
# entrypoint: true
decision := {"effect": "grant", "reasons": [], "grant": grant} if {
	permitted
	not needs_approval
} else := {"effect": "approve", "reasons": ["stage_needs_approval"], "grant": grant, "approval": approval} if {
	permitted
	needs_approval
} else := {"effect": "deny", "reasons": deny_reasons, "code": code}

# METADATA
# title: Permitted
# description: Everything that a lease is refused for otherwise.
permitted if {
	profiles_known
	binding_proven
	task_named
	task_open
	within_hours
	env_permitted
	delegation_permitted
	stage_permitted
	count(granted) > 0
}

# METADATA
# title: Profile
# description: That of the agent that asks; a name without an entry is a profile without rights.
profile := data.profiles[input.agent.profile]

# METADATA
# title: Profile names
# description: Of the agent that asks, and of every agent that hands the lease on.
profile_names contains input.agent.profile

profile_names contains agent.profile if some agent in input.delegated_by

# METADATA
# title: Profiles known
# description: Each of them is in the data, with a version for the lease to name.
profiles_known if {
	every name in profile_names {
		data.profiles[name].version != ""
	}
}

# METADATA
# title: Binding proven
# scope: document
# description: The agent proved that it holds a key, or its profile says that it need not.
binding_proven if input.agent.bound

binding_proven if profile.needs_binding == false

# METADATA
# title: Task named
# scope: document
# description: A lease is for a task, unless the profile says that it need not be.
task_named if input.request.task != null

task_named if profile.task_required == false

# METADATA
# title: Task open
# scope: document
# description: The task is not on the list of those that are closed. Without a list that cannot be told.
task_open if input.request.task == null

task_open if {
	is_array(data.tasks.closed)
	not task_closed
}

task_closed if concat(":", [input.request.task.system, input.request.task.id]) in data.tasks.closed

# METADATA
# title: Within hours
# scope: document
# description: UTC, from inclusive, to exclusive; 6.5 is half past six. From 22 to 6 is the night. None are any time.
within_hours if not profile.hours

within_hours if {
	input.context.weekday in profile.hours.days
	within(time_of_day, profile.hours)
}

within(time, hours) if {
	hours.from <= hours.to
	time >= hours.from
	time < hours.to
}

within(time, hours) if {
	hours.from > hours.to
	outside(time, hours)
}

outside(time, hours) if time >= hours.from

outside(time, hours) if time < hours.to

time_of_day := input.context.hour + (input.context.minute / 60)

# METADATA
# title: Environment permitted
# scope: document
# description: The agent runs where its profile is meant for; without a list that is anywhere.
env_permitted if not profile.envs

env_permitted if input.agent.env in profile.envs

# METADATA
# title: Delegation permitted
# description: Every agent that hands the lease on has a profile that may, and a delegation names one.
delegation_permitted if {
	delegating_agent_named
	every agent in input.delegated_by {
		data.profiles[agent.profile].delegates == true
	}
}

delegating_agent_named if input.request.kind != "delegation"

delegating_agent_named if count(input.delegated_by) > 0

# METADATA
# title: Stage permitted
# description: Each profile lists the stage, so an agent on probation never executes, whoever it works for.
stage_permitted if {
	every name in profile_names {
		input.request.stage in data.profiles[name].stages
	}
}

# METADATA
# title: Grant
# description: What the lease will hold. Times are the shortest of what is asked for and what each profile allows.
grant := {
	"details": granted,
	"stage": input.request.stage,
	"ttl_seconds": shortest(input.request.ttl_seconds, "max_ttl_seconds"),
	"lease_seconds": shortest(input.request.lease_seconds, "max_lease_seconds"),
	"profile_version": profile.version,
}

# A profile without the limit makes this undefined, and so the grant.
shortest(asked, limit) := min(limits | {asked}) if {
	limits := {seconds | some name in profile_names; seconds := data.profiles[name][limit]}
	every name in profile_names {
		is_number(data.profiles[name][limit])
	}
}

# METADATA
# title: Granted
# scope: document
# description: Exact details are granted as they are or not at all; what is left to policy is narrowed.
granted := input.request.details if {
	every detail in input.request.details {
		covered(detail)
	}
}

granted := narrowed if input.request.details == null

# METADATA
# title: Covered
# description: The user is entitled to each verb up to this sensitivity, and each profile permits it.
covered(detail) if {
	count(detail.actions) > 0
	every verb in detail.actions {
		stage_permits(verb)
		entitled(backend_of(detail), verb, detail.sensitivity)
		profiles_permit(backend_of(detail), verb, detail.sensitivity)
	}
}

# METADATA
# title: Stage permits verb
# scope: document
# description: A lease in stage `observe` only reads; `draft` and `execute` may also ask for writes.
stage_permits(verb) if verb in {"list", "read"}

stage_permits(_) if input.request.stage in {"draft", "execute"}

# METADATA
# title: Narrowed
# description: What is left of the candidates, verb by verb, as high as user and profiles reach.
narrowed := [detail |
	some wanted in candidates
	some word, level in data.scale
	actions := [verb | some verb in wanted.actions; reach(wanted, verb) == level]
	count(actions) > 0
	detail := object.union(wanted, {"actions": actions, "sensitivity": word})
]

# METADATA
# title: Candidates
# scope: document
# description: The lease that is renewed or handed on, else what the profile gives without being asked for more.
candidates := [detail | some detail in input.parent.details; named(detail)] if input.parent != null

candidates := [detail | some detail in profile.defaults; named(detail)] if input.parent == null

named(detail) if backend_of(detail) in input.request.backends

named(_) if count(input.request.backends) == 0

reach(wanted, verb) := max({level |
	some word, level in data.scale
	level <= data.scale[wanted.sensitivity]
	covered(object.union(wanted, {"actions": [verb], "sensitivity": word}))
})

# METADATA
# title: Holders
# description: The user's own entry, and those of the user's groups.
holders contains data.users[input.user.id]

holders contains data.groups[group] if some group in data.users[input.user.id].groups

# METADATA
# title: Entitled
# description: The user could do this without the agent.
entitled(backend, verb, sensitivity) if {
	some holder in holders
	allows(holder, backend, verb, sensitivity)
}

# METADATA
# title: Profiles permit
# description: The agent could do this for any user, and so could each agent that hands the lease on.
profiles_permit(backend, verb, sensitivity) if {
	every name in profile_names {
		allows(data.profiles[name], backend, verb, sensitivity)
	}
}

allows(entry, backend, verb, sensitivity) if {
	verb in entry.backends[backend].verbs
	data.scale[sensitivity] <= data.scale[entry.backends[backend].ceiling]
}

backend_of(detail) := split(detail.identifier, ":")[0]

# METADATA
# title: Needs approval
# description: The profile wants a yes for this stage that has not been said. A renewal goes on as it is.
needs_approval if {
	input.request.stage in profile.approval.stages
	not approved
	not goes_on
}

approved if count(said_yes) >= object.get(profile.approval, "quorum", 1)

said_yes contains person if {
	some person in input.context.approved_by
	person != input.user.id
}

goes_on if {
	input.request.kind == "renewal"
	input.request.stage == input.parent.stage
}

# METADATA
# title: Approval
# description: Whom the request waits for, and how.
approval := object.remove(profile.approval, {"stages"}) if count(profile.approval.approvers) > 0

# METADATA
# title: Code
# description: The OAuth error of a refusal; of several, what the agent has to put right first.
code := "unauthorized_client" if {
	not profiles_known
} else := "invalid_dpop_proof" if {
	not binding_proven
} else := "invalid_request" if {
	not task_named
} else := "invalid_request" if {
	not task_open
} else := "invalid_authorization_details" if {
	only_details_refused
	input.request.details != null
} else := "invalid_scope" if {
	only_details_refused
} else := "access_denied"

only_details_refused if {
	within_hours
	env_permitted
	delegation_permitted
	stage_permitted
	not something_granted
}

something_granted if count(granted) > 0

# METADATA
# title: Reasons of a refusal
# scope: document
# description: One word for each thing that does not hold; computed only for requests that are refused.
deny_reasons contains "agent_profile_unknown" if not profiles_known

deny_reasons contains "binding_required" if not binding_proven

deny_reasons contains "task_required" if not task_named

deny_reasons contains "task_closed" if not task_open

deny_reasons contains "outside_hours" if not within_hours

deny_reasons contains "agent_env_not_permitted" if not env_permitted

deny_reasons contains "delegation_not_permitted" if not delegation_permitted

deny_reasons contains "agent_profile_lacks_stage" if not stage_permitted

deny_reasons contains "nothing_asked" if input.request.details == []

deny_reasons contains "nothing_left" if {
	input.request.details == null
	not something_granted
}

deny_reasons contains "stage_observe_is_read_only" if {
	some asked in asked_for
	not stage_permits(asked.verb)
}

deny_reasons contains "user_not_entitled" if {
	some asked in asked_for
	not entitled(asked.backend, asked.verb, asked.sensitivity)
}

deny_reasons contains "agent_profile_lacks_right" if {
	some asked in asked_for
	not profiles_permit(asked.backend, asked.verb, asked.sensitivity)
}

deny_reasons contains "agent_profile_lacks_limits" if {
	profiles_known
	not grant
	something_granted
}

deny_reasons contains "no_approver_named" if {
	needs_approval
	not approval
}

# METADATA
# title: Asked for
# description: Each verb of each detail that the client sent.
asked_for contains {"backend": backend_of(detail), "verb": verb, "sensitivity": detail.sensitivity} if {
	some detail in input.request.details
	some verb in detail.actions
}
