import { renameSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { activatedSource } from '../../src/policy/activated.ts'
import { type LivePolicy, openPolicy, type PolicyEvent } from '../../src/policy/live.ts'
import { isConverged } from '../../src/policy/rollout.ts'
import { type CompiledPolicy, packSet, unpackSet } from '../../src/policy/set.ts'
import { directorySource } from '../../src/policy/source.ts'
import type { PolicySets, Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { eventually } from '../stores/contract.ts'
import { compiled, PolicyDir, reading } from './support.ts'

const input = JSON.stringify(reading)
let wasm: Uint8Array
let dir: PolicyDir
beforeAll(async () => {
  wasm = await compiled('decision := {"effect": "deny", "reasons": [data.reason]}')
  dir = PolicyDir.of({ 'policy.wasm': wasm, 'data/reason.json': '"from_the_directory"' })
})
afterAll(() => dir[Symbol.dispose]())

const said = { kind: 'activate', by: 'cli:dana', at: 2, reason: 'because' } as const

/** Policies that differ in what they say. */
const saying = (reason: string): CompiledPolicy => ({ wasm, data: { reason }, files: {} })

/** Publishes what `saying` gives, or other bytes under its digest, and activates it. */
async function activate(
  sets: PolicySets,
  reason: string,
  stored?: Uint8Array,
  at: number = said.at,
): Promise<string> {
  const { digest, packed } = await packSet(saying(reason))
  await sets.put({ digest, packed: stored ?? packed, publishedAt: 1, by: 'test' })
  await sets.activate({ digest, ...said, at })
  return digest
}

/** A store, and a policy that follows what is activated in it. */
class Followed implements AsyncDisposable {
  readonly events: PolicyEvent[] = []
  readonly state = new PolicyDir()
  store!: Store
  source!: ReturnType<typeof activatedSource>
  live!: LivePolicy
  readonly #closers: (() => unknown)[] = [() => this.state[Symbol.dispose]()]

  static async open(before: (sets: PolicySets) => unknown = () => {}): Promise<Followed> {
    const followed = new Followed()
    try {
      const store = await openEmbedded({ path: join(followed.state.path, 'state.db'), maxStalenessMs: 2000 })
      followed.#closers.push(() => store.close())
      await before(store.policySets)
      const directory = directorySource(dir.path, { reload: 'never' })
      const source = activatedSource(store.policySets, directory, { pollMs: 5, retryMs: 50 })
      const onEvent = (event: PolicyEvent) => followed.events.push(event)
      followed.live = await openPolicy({ source, onEvent })
      followed.#closers.push(() => followed.live.close())
      return Object.assign(followed, { store, source })
    } catch (error) {
      await followed[Symbol.asyncDispose]()
      throw error
    }
  }

  get reasons(): readonly string[] {
    return this.live.current.evaluate(input).reasons
  }

  get converged(): boolean {
    return isConverged(this.source.following(), this.live.current.digest)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const closer of this.#closers.splice(0).reverse()) await closer()
  }
}

describe('a gate that follows activations', () => {
  it('starts with the directory, and leaves it for good at the first activation', async () => {
    await using gate = await Followed.open()
    expect(gate.reasons).toEqual(['from_the_directory'])
    expect(gate.converged).toBe(true)
    const digest = await activate(gate.store.policySets, 'first')
    await eventually(() => gate.reasons).toEqual(['first'])
    expect(gate.events).toEqual([{ type: 'reloaded', digest, activation: { number: 1, digest, ...said } }])
    expect(gate.converged).toBe(true)
    await gate.live.reloadNow()
    expect(gate.reasons).toEqual(['first'])
  })

  it('starts with what is active, without a look at the directory', async () => {
    await using gate = await Followed.open((sets) => activate(sets, 'first'))
    expect(gate.reasons).toEqual(['first'])
    expect(gate.converged).toBe(true)
  })

  it('goes back where somebody goes back', async () => {
    await using gate = await Followed.open((sets) => activate(sets, 'first'))
    const first = gate.live.current.digest
    await activate(gate.store.policySets, 'second')
    await eventually(() => gate.reasons).toEqual(['second'])
    const back = { digest: first, kind: 'rollback', by: 'test', at: 3, reason: '' } as const
    await gate.store.policySets.activate(back)
    await eventually(() => gate.reasons).toEqual(['first'])
    expect(gate.live.current.digest).toBe(first)
  })

  const bad: readonly (readonly [
    name: string,
    stored: () => Uint8Array | Promise<Uint8Array>,
    code: string,
  ])[] = [
    ['no archive', () => Buffer.from('rubbish'), 'policy_set_damaged'],
    ['half of it', async () => (await packSet(saying('bad'))).packed.subarray(0, 1000), 'policy_set_damaged'],
    ['another policy', async () => (await packSet(saying('evil'))).packed, 'policy_set_damaged'],
    ['of a later format', () => gzipSync('{"format":2}\n'), 'policy_set_damaged'],
    ['without a head', () => gzipSync('null'), 'policy_set_damaged'],
    ['a bomb', () => gzipSync(Buffer.alloc(40 * 1024 * 1024)), 'policy_set_damaged'],
  ]
  it.each(bad)(
    'keeps its policy where what is stored is %s, says so once, and mends',
    async (_, stored, code) => {
      await using gate = await Followed.open((sets) => activate(sets, 'first'))
      const live = gate.live.current
      const digest = await activate(gate.store.policySets, 'bad', await stored())
      await eventually(() => gate.events).toHaveLength(1)
      expect(gate.events).toMatchObject([{ type: 'rejected', diagnostics: [{ code }] }])
      expect(JSON.stringify(gate.events)).toContain(digest)
      expect(gate.live.current).toBe(live)
      expect(gate.converged).toBe(false)
      const { packed } = await packSet(saying('bad'))
      await gate.store.policySets.put({ digest, packed, publishedAt: 1, by: 'test' })
      await eventually(() => gate.reasons).toEqual(['bad'])
      expect(gate.events.map(({ type }) => type)).toEqual(['rejected', 'reloaded'])
      expect(gate.converged).toBe(true)
    },
  )

  it('does not start without a directory where nothing is activated', async () => {
    using state = new PolicyDir()
    const store = await openEmbedded({ path: join(state.path, 'state.db'), maxStalenessMs: 2000 })
    try {
      const open = () =>
        openPolicy({ source: activatedSource(store.policySets, undefined), onEvent: () => {} })
      await expect(open()).rejects.toThrow(/^policy_not_activated: /)
      await activate(store.policySets, 'first')
      const live = await open()
      expect(live.current.evaluate(input).reasons).toEqual(['first'])
      await live.close()
    } finally {
      await store.close()
    }
  })

  it('does not start with an active policy that cannot be had', async () => {
    const open = Followed.open((sets) => activate(sets, 'first', Buffer.from('rubbish')))
    await expect(open).rejects.toMatchObject({
      name: 'PolicyError',
      message: /^policy_set_damaged: .*sha256:/,
    })
  })

  it('does not load a module that is not the policy it should be, though its digest is right', async () => {
    await using gate = await Followed.open((sets) => activate(sets, 'first'))
    const { digest, packed } = await packSet({ wasm: Buffer.from('not wasm'), data: {}, files: {} })
    await gate.store.policySets.put({ digest, packed, publishedAt: 1, by: 'test' })
    await gate.store.policySets.activate({ digest, kind: 'activate', by: 'test', at: 2, reason: '' })
    await eventually(() => gate.events).toMatchObject([{ diagnostics: [{ code: 'policy_unusable' }] }])
    expect(gate.reasons).toEqual(['first'])
    expect(gate.converged).toBe(false)
  })

  it('serves on while the store is gone, says that it cannot know, and follows again after', async () => {
    await using gate = await Followed.open((sets) => activate(sets, 'first'))
    await activate(gate.store.policySets, 'second')
    await eventually(() => gate.reasons).toEqual(['second'])
    const path = join(gate.state.path, 'state.db')
    renameSync(path, `${path}.away`)
    await eventually(() => gate.converged).toBe(false)
    expect(gate.source.following().fault).toContain('moved or deleted')
    expect(await gate.live.reloadNow()).toMatchObject({ diagnostics: [{ code: 'policy_store_unavailable' }] })
    expect(gate.reasons).toEqual(['second'])
    renameSync(`${path}.away`, path)
    await eventually(() => gate.converged).toBe(true)
    await eventually(() => gate.live.status().lastError).toBeUndefined()
    await activate(gate.store.policySets, 'third')
    await eventually(() => gate.reasons).toEqual(['third'])
  })

  it.each([
    ['an activation', 'DELETE FROM policy_history WHERE number = 2'],
    ['all of them', 'DELETE FROM policy_history'],
  ])(
    'does not go back to what was active before when the store has lost %s, and says so',
    async (_, loss) => {
      await using gate = await Followed.open(async (sets) => {
        await activate(sets, 'first')
        await activate(sets, 'second')
      })
      using state = new DatabaseSync(join(gate.state.path, 'state.db'))
      state.exec(loss)
      await eventually(() => gate.converged).toBe(false)
      expect(gate.source.following()).toMatchObject({
        active: { number: 2 },
        fault: 'the state store has lost it',
      })
      await gate.live.reloadNow()
      expect(gate.reasons).toEqual(['second'])
      await activate(gate.store.policySets, 'third', undefined, said.at + 1)
      await eventually(() => gate.reasons).toEqual(['third'])
      expect(gate.converged).toBe(true)
    },
  )
})

describe('a packed policy', () => {
  it('comes back as it was, with its sources', async () => {
    const shadow = Buffer.from('another module')
    const shadowRules = ['authz.rego:7 decision']
    const files = { 'authz.rego': 'package leasegate.authz\n' }
    const policy = { ...saying('x'), files, shadow, shadowRules }
    const { digest, packed } = await packSet(policy)
    const unpacked = await unpackSet(digest, packed)
    expect(Buffer.from(unpacked.wasm).equals(wasm)).toBe(true)
    expect(unpacked).toEqual({ ...policy, wasm: unpacked.wasm })
  })

  it.each([
    ['a shadow and no names of its rules', { shadow: Buffer.from('another module') }],
    ['names of rules and no shadow of them', { shadowRules: ['authz.rego:7 decision'] }],
  ])('with %s is damaged, though its digest is right', async (_, part) => {
    const { digest, packed } = await packSet({ ...saying('x'), ...part })
    await expect(unpackSet(digest, packed)).rejects.toThrow(/it does not name its rules in shadow$/)
  })

  it('that is too large is refused where it is made', async () => {
    const large = { ...saying('x'), files: { 'a.rego': 'x'.repeat(33 * 1024 * 1024) } }
    await expect(packSet(large)).rejects.toThrow(/^policy_too_large: /)
  })
})
