// Two gates on one state store: what is activated is live on both, what cannot be is live on neither, and a
// metric tells which of them has not followed.
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openStore } from '../../src/compose.ts'
import { loadConfig } from '../../src/config/load.ts'
import { historyLength, rollbackPath } from '../../src/policy/rollout.ts'
import { packSet } from '../../src/policy/set.ts'
import { type Store, Unavailable } from '../../src/ports.ts'
import { compiled } from '../policy/support.ts'
import { backendCredential, eventually, message, startTestGate, type TestGate } from '../support/gate.ts'
import { startRedis } from '../support/redis.ts'
import type { Json } from '../support/tokens.ts'

let wasm: Uint8Array
beforeAll(async () => {
  wasm = await compiled('decision := {"effect": "deny", "reasons": [data.reason]}')
})

/** A state store that can go away and come back. */
interface State {
  readonly config: Json
  away(): Promise<void> | void
  back(): Promise<void> | void
  end(): Promise<void> | void
}

const states: Readonly<Record<string, () => Promise<State>>> = {
  async redis() {
    const redis = await startRedis()
    return {
      config: { store: 'redis', redis: { url: redis.url, max_staleness: '500ms' } },
      away: () => redis.freeze(),
      back: () => redis.thaw(),
      async end() {
        redis.thaw()
        await redis.stop()
      },
    }
  },
  async embedded() {
    const dir = mkdtempSync(join(tmpdir(), 'leasegate-rollout-'))
    const path = join(dir, 'state.db')
    return {
      config: { store: 'embedded', path },
      away: () => renameSync(path, `${path}.away`),
      back: () => renameSync(`${path}.away`, path),
      end: () => rmSync(dir, { recursive: true }),
    }
  },
}

/** Asks until the store answers: on a loaded test machine a command may miss its time. */
async function insist<T>(ask: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof Unavailable) || tries > 200) throw error
    }
    await sleep(50)
  }
}

describe.each(Object.keys(states))('two gates on one %s store', (kind) => {
  let state: State
  let gates: readonly TestGate[] = []
  let store: Store
  let first: string
  let run = 0
  beforeAll(async () => {
    state = await states[kind]!()
    const config = { state: state.config, policy: { reload: 'on_activate', dir: './policies' } }
    const one = await startTestGate({ config })
    gates = [one]
    // As another process has it open.
    store = await openStore(loadConfig(one.configFile, { CRM_TOKEN: backendCredential }))
    await activate('before')
    gates = [one, await startTestGate({ config })]
  })
  beforeEach(async () => {
    first = await activate(`first of ${++run}`)
    await live(`first of ${run}`)
    await allConverged('1')
  })
  afterAll(async () => {
    await Promise.all(gates.map((gate) => gate.close()))
    await store.close()
    await state.end()
  })

  async function activate(reason: string, damage = (packed: Uint8Array) => packed): Promise<string> {
    const { digest, packed } = await packSet({ wasm, data: { reason }, files: {} })
    const set = { digest, packed: damage(packed), publishedAt: 1, by: 'test' }
    const said = { kind: 'activate', by: 'cli:dana', at: 2, reason: 'INC-12' } as const
    await insist(() => store.policySets.put(set))
    await insist(() => store.policySets.activate({ digest, ...said }))
    expect(await insist(() => store.policySets.active())).toMatchObject({ digest })
    return digest
  }

  async function rollBack(): Promise<void> {
    const history = await insist(() => store.policySets.history(historyLength))
    const said = { kind: 'rollback', by: 'cli:dana', at: 3, reason: '' } as const
    await insist(() => store.policySets.activate({ digest: rollbackPath(history)[0]!, ...said }))
  }

  /** Waits until both gates decide by the policy that says `reason`, as callers see it. */
  async function live(reason: string): Promise<void> {
    for (const gate of gates) await eventually(async () => (await reasons(gate))?.[0] === reason, reason)
  }

  async function reasons(gate: TestGate): Promise<string[] | undefined> {
    const { body } = await gate.ask(message({ token: gate.token() }))
    return (JSON.parse(body.toString()) as { reasons?: string[] }).reasons
  }

  const converged = async (gate: TestGate) =>
    /^leasegate_policy_converged (\d)$/m.exec(await gate.metrics())?.[1]

  /** Waits until both gates show `value`. */
  async function allConverged(value: '0' | '1'): Promise<void> {
    for (const gate of gates)
      await eventually(async () => (await converged(gate)) === value, `metric ${value}`)
  }

  const detail = async (gate: TestGate) => {
    const { checks } = await gate.readiness()
    return checks.find(({ name }) => name === 'policy')!
  }

  test('activate: both follow; roll back: both are back; the records say who', async () => {
    const second = await activate('second')
    await live('second')
    await allConverged('1')
    const { number } = (await insist(() => store.policySets.active()))!
    for (const gate of gates) {
      expect(await detail(gate)).toEqual({
        name: 'policy',
        ready: true,
        detail: `${second}, activation ${number} by cli:dana`,
      })
      expect(
        gate
          .audit()
          .filter(({ event }) => event === 'policy')
          .at(-1),
      ).toMatchObject({
        digest: second,
        activation: { number, kind: 'activate', by: 'cli:dana', reason: 'INC-12' },
      })
    }
    await rollBack()
    await live(`first of ${run}`)
    await allConverged('1')
    for (const gate of gates) expect(gate.running.policyDigest()).toBe(first)
  })

  test('a damaged policy is live on neither, and both say so until it is taken back', async () => {
    const damaged = await activate('damaged', (packed) => packed.subarray(0, packed.length / 2))
    await allConverged('0')
    for (const gate of gates) {
      const rejected = () => gate.audit().filter((line) => line.rejected !== undefined)
      await eventually(() => rejected().length > 0, 'the rejection')
      expect(JSON.stringify(rejected())).toContain(`policy_set_damaged: the stored policy ${damaged}`)
      expect(await detail(gate)).toMatchObject({
        ready: true,
        detail: expect.stringContaining(`${first} stays live, active is ${damaged}; the newest was rejected`),
      })
      expect(await gate.metrics()).toMatch(/^leasegate_policy_reloads_total\{result="rejected"\} [1-9]/m)
    }
    await live(`first of ${run}`)
    await rollBack()
    await allConverged('1')
    for (const gate of gates) {
      await eventually(async () => !(await detail(gate)).detail.includes('rejected'), 'a quiet readyz')
    }
    await live(`first of ${run}`)
  })

  test('a store that goes away takes no policy with it, and both follow again when it is back', async () => {
    await state.away()
    await allConverged('0')
    for (const gate of gates) {
      expect(gate.running.policyDigest()).toBe(first)
      expect(await detail(gate)).toMatchObject({ ready: true, detail: expect.stringContaining(`${first}, `) })
    }
    await state.back()
    await allConverged('1')
    for (const gate of gates)
      await eventually(async () => (await gate.readiness()).status === 200, 'readiness')
    await activate('second')
    await live('second')
  })
})

describe('a Redis that comes back empty', () => {
  let end = async () => {}
  afterAll(() => end())

  test('leaves the policy live, and the metric says that nobody knows what is active', async () => {
    const redis = await startRedis()
    const gate = await startTestGate({
      config: {
        state: { store: 'redis', redis: { url: redis.url, max_staleness: '500ms' } },
        policy: { reload: 'on_activate', dir: './policies' },
      },
    })
    end = async () => {
      await gate.close()
      await redis.stop()
    }
    const { policySets } = await gate.store()
    const { digest, packed } = await packSet({ wasm, data: { reason: 'kept' }, files: {} })
    const rollOut = async () => {
      await insist(() => policySets.put({ digest, packed, publishedAt: 1, by: 'test' }))
      const said = { digest, kind: 'activate', by: 'test', at: 2, reason: '' } as const
      await insist(() => policySets.activate(said))
    }
    await rollOut()
    await eventually(() => gate.running.policyDigest() === digest, 'the activated policy')
    await redis.kill()
    await redis.restart()
    const lost = async () => JSON.stringify(await gate.readiness()).includes('the state store has lost it')
    await eventually(lost, 'the loss')
    expect(gate.running.policyDigest()).toBe(digest)
    expect(await gate.metrics()).toContain('leasegate_policy_converged 0\n')
    await rollOut()
    await eventually(
      async () => (await gate.metrics()).includes('leasegate_policy_converged 1\n'),
      'the metric',
    )
  })
})
