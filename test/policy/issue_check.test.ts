// What `policy check` says about `package leasegate.issue`: it is typed against an input of its own, and its answer
// is the broker's. Rego in; place, severity, code, message and hint out.
import { describe, expect, it } from 'vitest'
import { openEngine } from '../../src/policy/evaluate.ts'
import { askIssue } from '../../src/policy/issue.ts'
import { sampleQuestion } from '../../src/policy/issue_sample.ts'
import { mappedOperations } from '../../src/policy/mapped.ts'
import { runToolchain } from '../../src/policy/toolchain.ts'
import { backendOf } from '../support/evidence.ts'
import { diagnose, told } from './check_rows.ts'

const authz = `package leasegate.authz

default decision := {"effect": "deny", "reasons": []}

decision := {"effect": "allow", "reasons": []} if input.lease.stage == "observe"
`

/** What is told, with the file, about a policy of these files. */
async function toldOf(files: Readonly<Record<string, string>>): Promise<string[]> {
  const diagnostics = await diagnose({
    files: { 'authz.rego': authz, ...files },
    mapped: mappedOperations([backendOf()]),
  })
  return diagnostics.map((one) => `${one.file}:${told(one)}`)
}

const issue = `package leasegate.issue

default decision := {"effect": "deny", "reasons": ["not_permitted"], "code": "access_denied"}

decision := {"effect": "grant", "reasons": [], "grant": grant} if permitted

permitted if {
	input.request.stage == "observe"
	input.context.weekday in {"mon", "tue"}
} else if {
	some detail in input.parent.details
	detail.sensitivity == "public"
}

grant := {
	"details": input.request.details,
	"stage": input.request.stage,
	"ttl_seconds": 60,
	"lease_seconds": 600,
	"profile_version": input.agent.version,
}
`

describe('policy check of a policy for issuing', () => {
  it('says nothing about one that is right, whatever the author annotates and the configuration maps', async () => {
    const annotated = `# METADATA\n# scope: subpackages\n# organizations: [Example]\n${issue}`
    const files = {
      'issue.rego': annotated,
      'more.rego': issue.slice(0, issue.indexOf('\n')),
      'issue_test.rego': `package leasegate.issue_test

import data.leasegate.issue

test_it if issue.decision.effect == "deny" with input as {}
`,
    }
    expect(await toldOf(files)).toEqual([])
  })

  it('finds in each package what its input does not have, also behind else and below the package', async () => {
    const files = {
      'authz.rego': authz.replace('input.lease.stage', 'input.agent.stage'),
      'issue.rego': issue
        .replace('input.request.stage ==', 'input.request.staje ==')
        .replace('"tue"', '"tuesday"')
        .replace('detail.sensitivity == "public"', 'detail.sensitivity == input.user.idd'),
      'lib.rego': 'package leasegate.issue.lib\n\np if input.agent.bond\n',
      'elsewhere.rego': 'package elsewhere\n\np if input.lease.stage == input.agent.bound\n',
    }
    const found = (await toldOf(files)).filter((line) => !line.includes('rule_unused'))
    expect(found).toEqual([
      'authz.rego:5:57-62 error rego_type_error: undefined ref: input.agent.stage -> one of context, lease, request, version',
      'elsewhere.rego:3:33-38 error rego_type_error: undefined ref: input.agent.bound -> one of context, lease, request, version',
      'issue.rego:8:16-21 error rego_type_error: undefined ref: input.request.staje -> did you mean input.request.stage?',
      'issue.rego:9:35-44 error value_never: input.context.weekday is never "tuesday" -> one of "fri", "mon", "sat", "sun", "thu", "tue", "wed"',
      'issue.rego:12:35-38 error rego_type_error: undefined ref: input.user.idd -> did you mean input.user.id?',
      'lib.rego:3:18-22 error rego_type_error: undefined ref: input.agent.bond -> did you mean input.agent.bound?',
    ])
  })

  it('knows what the broker understands', async () => {
    const files = {
      'issue.rego': issue
        .replace('"effect": "deny"', '"effect": "hold"')
        .replace('"access_denied"', 'code')
        .replace('default decision', 'decision')
        .replace('"ttl_seconds"', '"ttl"')
        .concat('\ncode := "no_scope" if input.agent.bound\n\nelse := "invalid_scope"\n'),
    }
    expect(await toldOf(files)).toEqual([
      'issue.rego:3:24-30 error decision_invalid: the effect is never "hold" -> one of "approve", "deny", "grant"',
      'issue.rego:15:10-11 error decision_invalid: the grant has no ttl_seconds',
      'issue.rego:18:2-7 error decision_invalid: the grant has no member "ttl" -> one of details, lease_seconds, profile_version, stage, ttl_seconds',
      'issue.rego:23:9-19 error decision_invalid: the code is never "no_scope" -> did you mean "invalid_scope"?',
    ])
  })

  it('misses the decision where the package is there without it', async () => {
    const found = await toldOf({ 'issue.rego': issue.replaceAll('decision :=', 'descision :=') })
    expect(found.filter((line) => !line.includes('rule_unused'))).toEqual([
      'issue.rego:5:1-10 error decision_missing: no rule is data.leasegate.issue.decision, the one that the broker asks -> did you mean decision?',
    ])
  })
})

describe('a rule for issuing that is marked shadow', () => {
  it('takes no part in what is issued', async () => {
    const shadow = '# METADATA\n# custom: { shadow: true }\nsober if input.agent.bound\n\n'
    const marked = issue.replace('permitted if {', `${shadow}permitted if {\n\tsober`)
    const outcome = await runToolchain({ files: { 'authz.rego': authz, 'issue.rego': marked }, data: {} }, [
      'check',
      'build',
    ])
    expect(outcome.diagnostics).toEqual([])
    expect(outcome.shadowRules).toEqual([expect.stringContaining('sober')])
    const unbound = { ...sampleQuestion, agent: { ...sampleQuestion.agent, bound: false } }
    const effects = [outcome.wasm!, outcome.shadow!].map(async (wasm) => {
      const engine = await openEngine({ wasm, data: {} })
      return askIssue(engine, unbound).effect
    })
    expect(await Promise.all(effects)).toEqual(['grant', 'deny'])
  })
})
