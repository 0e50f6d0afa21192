// A policy in the thread of a shadow: it answers, differs, fails, hangs, takes too much, and nobody waits for it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadPolicy, policyDigest } from '../../src/policy/evaluate.ts'
import {
  type Question,
  type ShadowDifference,
  type ShadowLimits,
  ShadowPolicy,
} from '../../src/policy/shadow.ts'
import type { PolicyAnswer } from '../../src/ports.ts'
import { eventually } from '../support/gate.ts'
import { compiled } from './support.ts'

const allow: PolicyAnswer = { effect: 'allow', reasons: [] }

/** Says what the input tells it to; version 0 keeps it busy for minutes, and one reason is a long one. */
const rules = `decision := {"effect": "allow", "reasons": []} if input.version == 1

else := {"effect": "deny", "reasons": ["b", "a"]} if input.version == 2

else := {"effect": "allow", "reasons": [], "surprise": true} if input.version == 3

else := {"effect": "deny", "reasons": reasons} if {
	input.version == 4
	long := concat("", [x | some i in numbers.range(1, 300); x := format_int(i % 10, 10)])
	reasons := [concat("", [long, format_int(i, 10)]) | some i in numbers.range(1, 100)]
}

else := {"effect": "allow", "reasons": []} if {
	n := numbers.range(1, 3000)
	some a in n
	some b in n
	some c in n
	c == input.version
}`

let wasm: Uint8Array
beforeAll(async () => {
  wasm = await compiled(rules)
}, 60_000)

const open: ShadowPolicy[] = []
afterAll(() => Promise.all(open.map((policy) => policy.close())))

interface Watched {
  readonly policy: ShadowPolicy
  readonly differences: ShadowDifference[]
  readonly failures: string[]
}

function watched(limits: Partial<ShadowLimits> = {}): Watched {
  const differences: ShadowDifference[] = []
  const failures: string[] = []
  const policy = new ShadowPolicy({
    limits,
    onDifference: (difference) => differences.push(difference),
    onFailed: (reason) => failures.push(reason),
  })
  open.push(policy)
  return { policy, differences, failures }
}

let asked = 0
function question(version: number, changes: Partial<Question> = {}): Question {
  const input = JSON.stringify({ version })
  return { decisionId: `dec_${++asked}`, policyDigest: 'sha256:live', input, answer: allow, ...changes }
}

/** Every question has become something. */
async function settled({ policy }: Watched, questions: number): Promise<void> {
  const sum = () => Object.values(policy.counts).reduce((total, count) => total + count, 0)
  await eventually(() => sum() === questions, 'an end of every question')
}

describe('a policy in shadow', () => {
  it('is compared with the live one, question by question', async () => {
    const run = watched()
    run.policy.use({ wasm, data: {} })
    const denied = question(2)
    const faulty = question(3)
    const alike = question(2, { answer: { effect: 'deny', reasons: ['a', 'b'] } })
    const otherReasons = question(2, { answer: { effect: 'deny', reasons: ['a'] } })
    for (const each of [question(1), denied, faulty, alike, otherReasons]) run.policy.ask(each)
    await settled(run, 5)
    expect(run.policy.counts).toEqual({ same: 2, different: 2, fault: 1, dropped: 0 })
    const digest = policyDigest({ wasm, data: {} })
    const deny = { effect: 'deny', reasons: ['a', 'b'] }
    const fault = 'the decision has an unknown member'
    expect(run.differences).toEqual([
      { question: denied, digest, answer: deny },
      { question: faulty, digest, answer: { effect: 'deny', reasons: ['policy_failed'], fault } },
      { question: otherReasons, digest, answer: deny },
    ])
  })

  it('says what the same policy says in the main thread, batch after batch', async () => {
    const main = await loadPolicy({ wasm, data: {} })
    const run = watched()
    run.policy.use({ wasm, data: {} })
    for (let n = 0; n < 300; n++) {
      const version = 1 + (n % 3)
      run.policy.ask(question(version, { answer: main.evaluate(JSON.stringify({ version })) }))
    }
    await settled(run, 300)
    expect(run.policy.counts).toEqual({ same: 200, different: 0, fault: 100, dropped: 0 })
    expect(run.differences).toEqual([])
  })

  it('has long reasons cut, and long lists of them', async () => {
    const run = watched()
    run.policy.use({ wasm, data: {} })
    run.policy.ask(question(4))
    await settled(run, 1)
    const { reasons } = run.differences[0]!.answer
    expect([reasons.length, Math.max(...reasons.map((reason) => reason.length))]).toEqual([32, 200])
  })

  it('compares only answers of the policy that it is the shadow of, where it is told which', async () => {
    const run = watched()
    run.policy.use({ wasm, data: {} }, 'sha256:live')
    run.policy.ask(question(1))
    run.policy.ask(question(1, { policyDigest: 'sha256:of-before' }))
    await settled(run, 2)
    expect(run.policy.counts).toMatchObject({ same: 1, dropped: 1 })
  })

  it('that is replaced drops what it has not answered; the next one answers', async () => {
    const run = watched()
    run.policy.use({ wasm, data: {} })
    for (let n = 0; n < 100; n++) run.policy.ask(question(1))
    run.policy.use({ wasm, data: { other: true } })
    expect(run.policy.counts.dropped).toBe(100)
    run.policy.ask(question(2))
    await settled(run, 101)
    expect(run.differences[0]?.digest).toBe(policyDigest({ wasm, data: { other: true } }))
    expect(run.failures).toEqual([])
  })

  it('is not asked, and nothing is counted, when there is none', async () => {
    const run = watched()
    run.policy.ask(question(1))
    run.policy.use({ wasm, data: {} })
    run.policy.use(undefined)
    run.policy.ask(question(1))
    expect(run.policy.counts).toEqual({ same: 0, different: 0, fault: 0, dropped: 0 })
    expect(run.policy.digest).toBeUndefined()
  })

  it('is gone after close, with its thread', async () => {
    const run = watched()
    run.policy.use({ wasm, data: {} })
    run.policy.ask(question(0))
    await run.policy.close()
    expect(run.policy.counts.dropped).toBe(1)
    expect(run.failures).toEqual([])
  })
})

describe('too much for a policy in shadow', () => {
  it('is dropped and counted while as many questions wait as may', async () => {
    const run = watched({ questions: 100 })
    run.policy.use({ wasm, data: {} })
    for (let n = 0; n < 1000; n++) run.policy.ask(question(1))
    expect(run.policy.counts.dropped).toBe(900)
    await settled(run, 1000)
    expect(run.policy.counts).toEqual({ same: 100, different: 0, fault: 0, dropped: 900 })
    run.policy.ask(question(1))
    await settled(run, 1001)
    expect(run.policy.counts.same).toBe(101)
  })

  it('is dropped while their inputs together are as long as they may be', async () => {
    const run = watched({ waitingChars: 30 })
    run.policy.use({ wasm, data: {} })
    for (let n = 0; n < 10; n++) run.policy.ask(question(1))
    expect(run.policy.counts.dropped).toBe(8)
    await settled(run, 10)
    run.policy.ask(question(1))
    await settled(run, 11)
    expect(run.policy.counts).toMatchObject({ same: 3, dropped: 8 })
  })

  it('is dropped when one input is too long', async () => {
    const run = watched({ inputChars: 100 })
    run.policy.use({ wasm, data: {} })
    run.policy.ask(question(1, { input: JSON.stringify({ version: 1, body: 'x'.repeat(100) }) }))
    run.policy.ask(question(1))
    await settled(run, 2)
    expect(run.policy.counts).toMatchObject({ same: 1, dropped: 1 })
  })
})

describe('a thread', () => {
  const impatient = { tickMs: 50, silentTicks: 20 }

  it('that never answers is ended, its questions are dropped, and a change of the policy starts anew', async () => {
    const run = watched(impatient)
    run.policy.use({ wasm, data: {} })
    run.policy.ask(question(1))
    await settled(run, 1)
    run.policy.ask(question(0))
    await eventually(() => run.failures.length > 0, 'the end of the thread')
    expect(run.failures).toEqual(['no answer for 1 s'])
    expect(run.policy.counts).toMatchObject({ same: 1, dropped: 1 })
    expect(run.policy.digest).toBeUndefined()
    run.policy.ask(question(1))
    expect(run.policy.counts.dropped).toBe(2)

    run.policy.use({ wasm, data: {} })
    run.policy.ask(question(1))
    await settled(run, 4)
    expect(run.policy.counts.same).toBe(2)
  })

  it('that nobody asks anything may be silent', async () => {
    const run = watched(impatient)
    run.policy.use({ wasm, data: {} })
    run.policy.ask(question(1))
    await settled(run, 1)
    await new Promise((resolve) => setTimeout(resolve, 1500))
    expect(run.failures).toEqual([])
    run.policy.ask(question(1))
    await settled(run, 2)
    expect(run.policy.counts.same).toBe(2)
  })

  it.each([
    ['that cannot load its policy', () => Buffer.from('no module')],
    ['whose module is cut off in the middle', () => wasm.subarray(0, wasm.length >> 1)],
  ])('%s is an event and nothing else', async (_, module) => {
    const run = watched()
    run.policy.use({ wasm: module(), data: {} })
    run.policy.ask(question(1))
    await eventually(() => run.failures.length > 0, 'the end of the thread')
    expect(run.failures).toHaveLength(1)
    await settled(run, 1)
    expect(run.policy.counts.dropped).toBe(1)
  })

  it('that takes more memory than it may is ended, and the process lives', async () => {
    const run = watched({ heapMegabytes: 16 })
    const data = Object.fromEntries(Array.from({ length: 150_000 }, (_, n) => [`user-${n}`, { n }]))
    run.policy.use({ wasm, data })
    run.policy.ask(question(1))
    await eventually(() => run.failures.length > 0, 'the end of the thread')
    expect(run.failures[0]).toMatch(/memory/)
    expect(run.policy.counts.dropped).toBe(1)
  })
})
