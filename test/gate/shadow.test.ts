// Policies in shadow of a gate that serves: they see real requests and change none of them.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { message, startTestGate, type TestGate, eventually as within } from '../support/gate.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate({ config: { policy: { shadow: { dir: './policies-next' } } } })
})
afterAll(() => gate.close())

const candidate = (text: string) => {
  mkdirSync(join(gate.dir, 'policies-next'), { recursive: true })
  writeFileSync(join(gate.dir, 'policies-next', 'authz.rego'), `package leasegate.authz\n\n${text}\n`)
}
/** A compilation takes its time on a busy machine. */
const eventually = (holds: () => boolean | Promise<boolean>, what: string) => within(holds, what, 60)

const denying = 'decision := {"effect": "deny", "reasons": ["not_with_us"]}'

async function status(): Promise<number> {
  return (await gate.ask(message({ token: gate.token() }))).status
}

const events = (name: string) => gate.audit().filter(({ event }) => event === name)
const ofSource = (wanted: string) => events('shadow').filter(({ source }) => source === wanted)

async function detail(name: string) {
  const { status, checks } = await gate.readiness()
  return { status, detail: checks.find((check) => check.name === name)?.detail }
}

/** Waits until `shadow_policy` has been written `count` times, and returns the last of them. */
async function told(count: number) {
  await eventually(() => events('shadow_policy').length >= count, 'news of a policy in shadow')
  return events('shadow_policy')[count - 1]
}

test('a candidate that is not there keeps nothing from starting, and is told of', async () => {
  const first = await told(1)
  expect(first).toMatchObject({ source: 'candidate', rejected: [expect.stringContaining('ENOENT')] })
  expect(await status()).toBe(200)
  expect(await detail('shadow candidate')).toEqual({
    status: 200,
    detail: expect.stringMatching(/^nothing runs; the newest was rejected: policy_unreadable/),
  })
  expect(await gate.metrics()).toContain('leasegate_shadow_running{source="candidate"} 0\n')
  expect(gate.logText()).toContain('the candidate policy cannot be used')
})

test('a candidate that denies what is allowed changes no answer, and every difference is on record', async () => {
  candidate(denying)
  const { digest } = (await told(2))!
  const before = gate.records().length
  expect(await status()).toBe(200)
  const [record] = await gate.recordsAfter(before)
  await eventually(() => ofSource('candidate').length === 1, 'the difference')
  const [line] = ofSource('candidate')
  expect(Object.keys(line!)).toEqual(['time', 'event', 'source', 'decision_id', 'live', 'shadow'])
  expect(line).toMatchObject({
    source: 'candidate',
    decision_id: record!.decision_id,
    live: { effect: 'allow', reasons: [], digest: gate.running.policyDigest() },
    shadow: { effect: 'deny', reasons: ['not_with_us'], digest },
  })
  const metrics = await gate.metrics()
  expect(metrics).toContain(
    'leasegate_shadow_differences_total{source="candidate",live="allow",shadow="deny"} 1\n',
  )
  expect(metrics).toContain('leasegate_shadow_decisions_total{source="candidate",result="different"} 1\n')
  expect(metrics).toContain('leasegate_shadow_running{source="candidate"} 1\n')
  expect(record!.decision.effect).toBe('allow')
  expect(await detail('shadow candidate')).toEqual({ status: 200, detail: `${digest} runs` })
})

test('what no policy was asked about is not asked of a candidate', async () => {
  const before = (await gate.metrics()).match(/^leasegate_shadow_decisions_total.*candidate.*$/gm)
  const { status } = await gate.ask(message({}))
  expect(status).toBe(401)
  expect((await gate.metrics()).match(/^leasegate_shadow_decisions_total.*candidate.*$/gm)).toEqual(before)
})

test('a candidate that is broken by an edit runs no more until it is mended', async () => {
  candidate(
    `default ${denying}\n\nusing if input.lease.usr == "x"\n\ndecision := {"effect": "allow", "reasons": []} if using`,
  )
  expect(await told(3)).toMatchObject({ rejected: [expect.stringContaining('input.lease.usr')] })
  expect(await status()).toBe(200)
  expect(await gate.metrics()).toContain('leasegate_shadow_running{source="candidate"} 0\n')
  candidate('decision := {"effect": "allow", "reasons": []}')
  await eventually(
    async () => (await gate.metrics()).includes('running{source="candidate"} 1'),
    'a candidate',
  )
  const lines = ofSource('candidate').length
  expect(await status()).toBe(200)
  const same = 'leasegate_shadow_decisions_total{source="candidate",result="same"} 1\n'
  await eventually(async () => (await gate.metrics()).includes(same), 'an equal answer')
  expect(ofSource('candidate')).toHaveLength(lines)
})

test('a rule marked shadow decides nothing, is named wherever policy is, and its differences are on record', async () => {
  const file = join(gate.config.policy.dir, 'authz.rego')
  const text = readFileSync(file, 'utf8')
  const mark = '# METADATA\n# custom:\n#   shadow: true\n'
  const marked = `${text.replace('\twithin_call_rate\n}', '\twithin_call_rate\n\ttask_is_a_chat\n}')}
${mark}task_is_a_chat if input.lease.task.system == "chat"

${mark}deny_reasons contains "task_is_no_chat" if not task_is_a_chat
`
  const old = gate.running.policyDigest()
  // The tests that ship are about the policy as written: this rule breaks them.
  rmSync(join(gate.config.policy.dir, 'authz_test.rego'))
  writeFileSync(file, marked)
  await eventually(() => gate.running.policyDigest() !== old, 'the policy with rules in shadow')
  const digest = gate.running.policyDigest()
  await eventually(() => events('policy').some((event) => event.digest === digest), 'the event')
  expect(events('policy').find((event) => event.digest === digest)).toMatchObject({
    shadow_rules: [
      expect.stringMatching(/^data\.leasegate\.authz\.task_is_a_chat \(authz\.rego:\d+\)$/),
      expect.stringMatching(/^data\.leasegate\.authz\.deny_reasons \(authz\.rego:\d+\)$/),
    ],
  })
  expect(gate.logText()).toContain('"shadow_rules":["data.leasegate.authz.task_is_a_chat')
  expect(await status()).toBe(200)
  await eventually(() => ofSource('rule').length === 1, 'the difference')
  expect(ofSource('rule')[0]).toMatchObject({
    live: { effect: 'allow', digest },
    shadow: { effect: 'deny', reasons: ['task_is_no_chat'] },
  })
  expect(await detail('shadow rule')).toMatchObject({ status: 200, detail: expect.stringMatching(/ runs$/) })

  writeFileSync(file, text)
  await eventually(() => gate.running.policyDigest() !== digest, 'the policy without them')
  expect(await status()).toBe(200)
  expect(ofSource('rule')).toHaveLength(1)
  expect((await detail('shadow rule')).detail).toBeUndefined()
})

test('a candidate that never comes to an end is ended, while requests are answered', async () => {
  const news = events('shadow_policy').length
  // Not for the sample input, which it would be refused for.
  candidate(`default ${denying}

decision := {"effect": "allow", "reasons": []} if {
	input.context.source_ip == "127.0.0.1"
	n := numbers.range(2, 3000)
	some a in n
	some b in n
	some c in n
	c == input.version
}`)
  await told(news + 1)
  const answers = await Promise.all(Array.from({ length: 20 }, () => status()))
  expect(new Set(answers)).toEqual(new Set([200]))
  await eventually(() => events('shadow_policy').at(-1)?.off !== undefined, 'the end of it')
  expect(events('shadow_policy').at(-1)).toMatchObject({ source: 'candidate', off: 'no answer for 5 s' })
  expect(await status()).toBe(200)
  expect(await gate.metrics()).toContain('leasegate_shadow_running{source="candidate"} 0\n')
  const dropped = /shadow_decisions_total\{source="candidate",result="dropped"\} (\d+)/
  expect(Number(dropped.exec(await gate.metrics())?.[1])).toBeGreaterThan(20)
  expect(await detail('shadow candidate')).toMatchObject({
    status: 200,
    detail: expect.stringContaining('off until the next change'),
  })
})
