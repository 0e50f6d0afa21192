# METADATA
# title: What an agent may do
# description: >-
#   Decides one request of one lease. Every rule below states what must hold; what cannot be shown to hold is
#   refused, so a missing entry in data/ is a "no" and never a "yes".
package leasegate.authz

# METADATA
# title: Decision
# description: The one answer the gate asks for; anything that matches no earlier branch is denied.
# entrypoint: true
decision := {"effect": "allow", "reasons": []} if {
	permitted
	not needs_confirmation
	not needs_approval
} else := {"effect": "draft", "reasons": ["stage_draft_writes_are_drafts"], "approval": approval} if {
	permitted
	needs_confirmation
} else := {"effect": "hold", "reasons": hold_reasons, "approval": approval} if {
	permitted
	needs_approval
} else := {"effect": "deny", "reasons": deny_reasons}

# METADATA
# title: Permitted
# description: User, every agent on the way and lease all cover the request; authority is delegated, never amplified.
permitted if {
	lease_covers_request
	stage_permits_verb
	profile_permits_env
	profile_permits_stage
	profile_permits_verb
	profile_permits_sensitivity
	delegators_permit
	user_entitled
	within_call_rate
}

# METADATA
# title: Lease covers request
# description: One single grant names the verb, the resource and a ceiling at or above the sensitivity.
lease_covers_request if {
	some grant in input.lease.granted
	grants_verb(grant)
	grants_resource(grant)
	within_ceiling(grant.sensitivity)
}

# METADATA
# title: Grants verb
# scope: document
# description: A grant lists the verb, or is one of the rare grants of every verb.
grants_verb(grant) if input.request.verb in grant.actions

grants_verb(grant) if "*" in grant.actions

# METADATA
# title: Grants resource
# scope: document
# description: A grant names the resource exactly, or ends in `/*` and the resource lies below it.
grants_resource(grant) if grant.resource == input.request.resource

grants_resource(grant) if {
	endswith(grant.resource, "/*")
	parent := trim_suffix(grant.resource, "*")
	startswith(input.request.resource, parent)
	input.request.resource != parent
}

# METADATA
# title: Within ceiling
# description: The sensitivity of the request is at or below a ceiling; a word not on the scale is above all.
within_ceiling(ceiling) if data.scale[input.request.sensitivity] <= data.scale[ceiling]

# METADATA
# title: Reading
# description: Reading and listing change nothing; every other verb counts as a write.
reading if input.request.verb in {"list", "read"}

# METADATA
# title: Stage permits verb
# scope: document
# description: A lease in stage `observe` only reads; `draft` and `execute` may also ask for writes.
stage_permits_verb if reading

stage_permits_verb if input.lease.stage in {"draft", "execute"}

# METADATA
# title: Profile permits environment
# scope: document
# description: The agent runs where its profile is meant for; without a list that is anywhere.
profile_permits_env if not data.profiles[input.lease.agent.profile].envs

profile_permits_env if input.lease.agent.env in data.profiles[input.lease.agent.profile].envs

# METADATA
# title: Profile permits stage
# description: The agent's profile lists the stage, so an agent on probation never executes.
profile_permits_stage if input.lease.stage in data.profiles[input.lease.agent.profile].stages

# METADATA
# title: Profile permits verb
# description: The agent's profile lists the verb for this backend, whatever the user may do.
profile_permits_verb if {
	input.request.verb in data.profiles[input.lease.agent.profile].backends[input.request.backend].verbs
}

# METADATA
# title: Profile permits sensitivity
# description: The agent's profile reaches as high as the request on this backend.
profile_permits_sensitivity if {
	within_ceiling(data.profiles[input.lease.agent.profile].backends[input.request.backend].ceiling)
}

# METADATA
# title: Delegators permit
# description: Each agent that handed the lease on could do this itself, and may hand on.
delegators_permit if {
	every agent in input.lease.delegated_by {
		hands_on(data.profiles[agent.profile])
	}
}

# METADATA
# title: Hands on
# description: A profile that may pass this very request on to another agent.
hands_on(profile) if {
	profile.delegates == true
	input.lease.stage in profile.stages
	input.request.verb in profile.backends[input.request.backend].verbs
	within_ceiling(profile.backends[input.request.backend].ceiling)
}

# METADATA
# title: User entitled
# scope: document
# description: The user could do this without the agent, by an entitlement of their own or of a group.
user_entitled if entitles(data.users[input.lease.user])

user_entitled if {
	some group in data.users[input.lease.user].groups
	entitles(data.groups[group])
}

user_entitled if drills

# METADATA
# title: Drills
# description: The users of `leasegate drill`, who are nobody else, call the canary of a gate and nothing real.
drills if {
	startswith(input.lease.user, "drill-")
	input.lease.agent.profile == "leasegate-drill"
	input.request.resource == "leasegate:canary"
}

# METADATA
# title: Entitles
# description: A user's or group's entry covers verb and sensitivity on this backend.
entitles(holder) if {
	entitlement := holder.backends[input.request.backend]
	input.request.verb in entitlement.verbs
	within_ceiling(entitlement.ceiling)
}

# METADATA
# title: Within call rate
# description: Neither this lease nor all leases of the agent called more often in a minute than the profile allows.
within_call_rate if {
	limit := data.profiles[input.lease.agent.profile].calls_per_minute
	input.context.recent_calls.lease_1m < limit.lease
	input.context.recent_calls.agent_1m < limit.agent
}

# METADATA
# title: Needs confirmation
# description: A write in stage `draft`, whatever its risk, is executed only once it is approved.
needs_confirmation if {
	input.lease.stage == "draft"
	not reading
	not approved
}

# METADATA
# title: Needs approval
# description: High risk, or any real risk that untrusted content asked for, waits for somebody else's yes.
needs_approval if {
	not harmless
	not approved
}

# METADATA
# title: Harmless
# scope: document
# description: Low risk never waits; medium risk does not either when trusted content asked for it.
harmless if input.request.risk == "low"

harmless if {
	input.request.risk == "medium"
	input.context.provenance == "trusted"
}

# METADATA
# title: High risk
# description: A word that is neither `low` nor `medium` counts as high.
high_risk if not input.request.risk in {"low", "medium"}

# METADATA
# title: Approved
# description: As many people as data/approvers asks for now have said yes, to this very call or to some like it.
approved if count(said_yes) >= object.get(data.approvers[input.request.backend], "quorum", 1)

# METADATA
# title: Said yes
# description: Everybody who counts; nobody approves what an agent does for them.
said_yes contains person if {
	some person in input.context.approval.approved_by
	person != input.lease.user
}

# METADATA
# title: Approval
# description: Whom the request waits for, and how, by its backend. A yes to high risk needs a reason.
approval := object.union(data.approvers[input.request.backend], {"reason_required": needs_reason}) if {
	count(data.approvers[input.request.backend].approvers) > 0
}

# METADATA
# title: Needs reason
# scope: document
# description: Whoever says yes has to say why.
default needs_reason := false

needs_reason if high_risk

needs_reason if data.approvers[input.request.backend].reason_required

# METADATA
# title: Reasons of a hold
# scope: document
# description: What the approver should know about why the agent was stopped.
hold_reasons contains "high_risk_needs_approval" if high_risk

hold_reasons contains "untrusted_provenance" if input.context.provenance != "trusted"

# METADATA
# title: Reasons of a refusal
# scope: document
# description: One word for each thing that does not hold; computed only for requests that are refused.
deny_reasons contains "verb_not_in_lease" if not lease_grants_verb

deny_reasons contains "resource_not_in_lease" if {
	lease_grants_verb
	not lease_grants_resource
}

deny_reasons contains "sensitivity_above_ceiling" if {
	lease_grants_resource
	not lease_covers_request
}

deny_reasons contains "sensitivity_above_ceiling" if {
	profile_permits_verb
	not profile_permits_sensitivity
}

deny_reasons contains "stage_observe_is_read_only" if {
	input.lease.stage == "observe"
	not reading
}

deny_reasons contains "agent_env_not_permitted" if not profile_permits_env

deny_reasons contains "agent_profile_lacks_stage" if not profile_permits_stage

deny_reasons contains "agent_profile_lacks_verb" if not profile_permits_verb

deny_reasons contains "delegating_agent_not_permitted" if not delegators_permit

deny_reasons contains "user_not_entitled" if not user_entitled

deny_reasons contains "rate_exceeded" if not within_call_rate

deny_reasons contains "no_approver_named" if {
	permitted
	not approval
}

# METADATA
# title: Lease grants verb
# description: Some grant lists the verb; tells a wrong verb from a wrong resource in the reasons.
lease_grants_verb if {
	some grant in input.lease.granted
	grants_verb(grant)
}

# METADATA
# title: Lease grants resource
# description: Some grant lists the verb for the resource; tells a wrong resource from a low ceiling.
lease_grants_resource if {
	some grant in input.lease.granted
	grants_verb(grant)
	grants_resource(grant)
}
