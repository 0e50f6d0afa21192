// In: backends of the configuration. Out: a Rego file with one test per operation, on the data of a starter.
// Never the tests of the rules: those ship with the rules.
import type { Backend, Operation } from '../enforce/operation.ts'
import { sampleInput } from './sample.ts'
import { sampleRequest } from './sample_request.ts'

const header = `# METADATA
# title: What the data grants
# description: >-
#   One test per operation of the configuration: what policy answers to somebody who may, and to somebody who
#   may not. The tests in authz_test.rego are about the rules; these are about data/, so change them with it.
package leasegate.operations_test

import data.leasegate.authz

# SAMPLE names: a profile and a user of data/ that may do everything below, and somebody nobody has heard of.
profile := "worker"

user := "alice@example.com"

stranger := "nobody@example.com"

# Whom data/approvers.yaml names for every backend.
approvers := ["group:owners"]

# What policy answers when an agent asks for \`request\` on behalf of \`person\`, under a lease for exactly that:
# what is left to decide is what data/ says. docs/policy.md explains every field.
answer(person, request) := answer_after(null, person, request)

# The same once somebody has said yes to exactly that.
answer_once_approved(person, request) := answer_after(approval, person, request) if {
	approval := {"id": "act_1", "approved_by": ["approver@example.com"], "kind": "exact"}
}

answer_after(approval, person, request) := decision if {
	decision := authz.decision with input as {
		"version": 1,
		"lease": {
			"id": "lse_1",
			"user": person,
			"agent": {"id": "agent:sample", "version": "1.0.0", "env": "prod", "profile": profile},
			"task": {"system": "jira", "id": "SUP-1", "purpose": "try the policy"},
			"stage": "execute",
			"session": "ses_1",
			"delegated_by": [],
			"granted": [{
				"actions": [request.verb],
				"resource": request.resource,
				"sensitivity": request.sensitivity,
			}],
			"age_seconds": 12,
			"expires_in_seconds": 288,
		},
		"request": request,
		"context": {
			"now": ${sampleInput.context.now},
			"source_ip": "10.1.2.3",
			"recent_calls": {"lease_1m": 0, "agent_1m": 0},
			# Trusted content asked for it. Under "untrusted", medium risk is held as well.
			"provenance": "trusted",
			"approval": approval,
		},
	}
}
`

/** The text of `operations_test.rego`, in the layout of `opa fmt`. */
export function operationTests(backends: readonly Backend[]): string {
  const names = new Set<string>()
  const tests = backends.flatMap((backend) =>
    backend.operations.map((operation) => operationTest(backend, operation, freeName(operation, names))),
  )
  return [header, ...tests].join('\n')
}

const approved = `
	answer(user, request).approval.approvers == approvers
	answer_once_approved(user, request).effect == "allow"`

function operationTest(backend: Backend, operation: Operation, name: string): string {
  const held = operation.risk === 'high'
  const [effect, why] = held
    ? ['hold', 'high risk, so a human is asked first']
    : ['allow', `${operation.risk} risk, so nobody is asked`]
  return `# ${operation.match} is ${operation.verb}, ${operation.sensitivity}: ${why}.
${name} if {
	request := {
${requestMembers(backend, operation)}
	}
	answer(user, request).effect == "${effect}"${held ? approved : ''}
	"user_not_entitled" in answer(stranger, request).reasons
}
`
}

/** Members of `input.request`, one a line. */
function requestMembers(backend: Backend, operation: Operation): string {
  return Object.entries(sampleRequest(backend, operation))
    .map(([key, value]) => `\t\t"${key}": ${rego(value)},`)
    .join('\n')
}

/** As `opa fmt` writes a value that holds at most one level of members. */
function rego(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}: ${rego(inner)}`)
  return `{${members.join(', ')}}`
}

/** `test_get_customers_id`, with a number behind it when an operation before has that name. */
function freeName({ match }: Operation, taken: Set<string>): string {
  const words = match
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/_$/, '')
  let name = `test_${words}`
  for (let number = 2; taken.has(name); number++) name = `test_${words}_${number}`
  taken.add(name)
  return name
}
