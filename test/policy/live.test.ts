import { renameSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { formatDiagnostic } from '../../src/policy/diagnostic.ts'
import { type LivePolicy, openPolicy, type PolicyEvent } from '../../src/policy/live.ts'
import { directorySource } from '../../src/policy/source.ts'
import { bundle, compiled, PolicyDir, reading, shippedDir } from './support.ts'

const input = JSON.stringify(reading)
const broken =
  'package leasegate.authz\n\ndecision := {"effect": "allow", "reasons": []} if input.lease.usr == "x"\n\ndefault decision := {"effect": "deny", "reasons": []}\n'

/** An open policy whose events can be waited for, one by one. */
class Watched implements AsyncDisposable {
  readonly #events: PolicyEvent[] = []
  #wake: () => void = () => {}
  #live!: LivePolicy

  static async open(dir: string, reload: 'on_change' | 'never' = 'on_change'): Promise<Watched> {
    const watched = new Watched()
    const onEvent = (event: PolicyEvent): void => {
      watched.#events.push(event)
      watched.#wake()
    }
    watched.#live = await openPolicy({ source: directorySource(dir, { reload }), onEvent })
    return watched
  }

  get live(): LivePolicy {
    return this.#live
  }

  async next(): Promise<PolicyEvent> {
    while (this.#events.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve))
    return this.#events.shift()!
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#live.close()
  }
}

describe('an edit', () => {
  it('goes live; a broken one does not and says where; mending it goes live again', async () => {
    using dir = PolicyDir.shipped()
    await using watched = await Watched.open(dir.path)
    const { live } = watched
    const first = live.current
    const text = dir.read('authz.rego')
    expect(first.evaluate(input).effect).toBe('allow')
    expect(live.status()).toMatchObject({ digest: first.digest, reloads: 0, rejected: 0 })

    // A right taken away in the data.
    dir.write('data/groups.json', '{}')
    expect(await watched.next()).toEqual({ type: 'reloaded', digest: live.current.digest })
    expect(live.current.digest).not.toBe(first.digest)
    expect(live.current.evaluate(input)).toEqual({ effect: 'deny', reasons: ['user_not_entitled'] })
    const second = live.current

    dir.write('authz.rego', broken)
    const event = await watched.next()
    expect(event.type === 'rejected' && event.diagnostics.map(formatDiagnostic)[0]).toMatch(
      /^authz\.rego:3:63: rego_type_error: undefined ref: input\.lease\.usr/,
    )
    expect(live.current).toBe(second)
    expect(live.status()).toMatchObject({ digest: second.digest, reloads: 1, rejected: 1 })
    expect(live.status().lastError).toContain('authz.rego:3:63')

    dir.write('authz.rego', text)
    expect(await watched.next()).toEqual({ type: 'reloaded', digest: second.digest })
    expect(live.status()).toMatchObject({ reloads: 2, rejected: 1 })
    expect(live.status().lastError).toBeUndefined()
  })

  it('that fails its own tests does not go live', async () => {
    using dir = PolicyDir.shipped()
    await using watched = await Watched.open(dir.path)
    const first = watched.live.current
    dir.write('authz.rego', dir.read('authz.rego').replace('{"list", "read"}', '{"list", "read", "delete"}'))
    const event = await watched.next()
    expect(event.type === 'rejected' && event.diagnostics.every(({ code }) => code === 'test_failed')).toBe(
      true,
    )
    expect(watched.live.current).toBe(first)
  })

  it('is seen through the links of a ConfigMap', async () => {
    using dir = new PolicyDir()
    const version = (name: string, reason: string): void => {
      dir.write(`${name}/authz.rego`, denying(reason))
    }
    version('..1', 'first')
    symlinkSync('..1', join(dir.path, '..data'))
    symlinkSync('..data/authz.rego', join(dir.path, 'authz.rego'))
    await using watched = await Watched.open(dir.path)
    expect(watched.live.current.evaluate(input).reasons).toEqual(['first'])

    version('..2', 'second')
    symlinkSync('..2', join(dir.path, '..tmp'))
    renameSync(join(dir.path, '..tmp'), join(dir.path, '..data'))
    rmSync(join(dir.path, '..1'), { recursive: true })
    expect((await watched.next()).type).toBe('reloaded')
    expect(watched.live.current.evaluate(input).reasons).toEqual(['second'])
  })

  it('that takes the directory away leaves the policy live', async () => {
    using dir = PolicyDir.of({ 'policies/authz.rego': denying('here') })
    await using watched = await Watched.open(join(dir.path, 'policies'))
    renameSync(join(dir.path, 'policies'), join(dir.path, 'elsewhere'))
    expect(await watched.next()).toMatchObject({ diagnostics: [{ code: 'policy_unreadable' }] })
    expect(watched.live.current.evaluate(input).reasons).toEqual(['here'])
    renameSync(join(dir.path, 'elsewhere'), join(dir.path, 'policies'))
    expect((await watched.next()).type).toBe('reloaded')
  })

  it('waits for reloadNow where reload is never', async () => {
    using dir = PolicyDir.of({ 'authz.rego': denying('first') })
    await using watched = await Watched.open(dir.path, 'never')
    dir.write('authz.rego', denying('second'))
    expect(watched.live.current.evaluate(input).reasons).toEqual(['first'])
    const [one, two] = await Promise.all([watched.live.reloadNow(), watched.live.reloadNow()])
    expect([one.type, two.type]).toEqual(['reloaded', 'reloaded'])
    expect(watched.live.current.evaluate(input).reasons).toEqual(['second'])
  })
})

describe('at the start', () => {
  it('a policy that cannot be used is refused with every diagnostic', async () => {
    using dir = PolicyDir.of({ 'authz.rego': `${broken}\nother if input.lease.agnt == "x"\n` })
    await expect(Watched.open(dir.path)).rejects.toThrow(
      /^authz\.rego:3:63: rego_type_error: [^\n]*\nauthz\.rego:7:22: rego_type_error: [^\n]*$/,
    )
  })

  it('the tests that ship hold whatever the data says', async () => {
    using dir = PolicyDir.shipped()
    rmSync(join(dir.path, 'data'), { recursive: true })
    dir.write('data/scale.json', '{ "public": 10, "internal": 20, "confidential": 30, "restricted": 40 }')
    dir.write(
      'data/profiles.yaml',
      `support:
  stages: [observe]
  backends: { ledger: { verbs: [read], ceiling: public } }
  calls_per_minute: { lease: 3, agent: 3 }
`,
    )
    dir.write('data/users.json', '{ "alice@example.com": { "groups": [] } }')
    await using watched = await Watched.open(dir.path)
    expect(watched.live.current.evaluate(input)).toEqual({
      effect: 'deny',
      reasons: ['agent_profile_lacks_verb', 'rate_exceeded', 'user_not_entitled'],
    })
  })

  it('a directory that is not there is refused', async () => {
    await expect(Watched.open(join(shippedDir, 'nowhere'))).rejects.toThrow(/^policy_unreadable: .*ENOENT/)
  })

  it('a compiled module is taken as it is', async () => {
    using dir = PolicyDir.of({
      'policy.wasm': await compiled('decision := {"effect": "allow", "reasons": [data.words.yes]}'),
      'data/words.yaml': 'yes: because\n',
    })
    await using watched = await Watched.open(dir.path)
    expect(watched.live.current.evaluate(input)).toEqual({ effect: 'allow', reasons: ['because'] })
  })

  it('an OPA bundle is taken with its data, and replaced like any other policy', async () => {
    using dir = PolicyDir.of({ 'bundle.tar.gz': bundle('portable') })
    await using watched = await Watched.open(dir.path)
    expect(watched.live.current.evaluate(input)).toEqual({ effect: 'allow', reasons: ['from_the_bundle'] })
    dir.write('bundle.tar.gz', bundle('portable').subarray(0, 2000))
    expect(await watched.next()).toMatchObject({
      diagnostics: [{ file: 'bundle.tar.gz', code: 'bundle_invalid' }],
    })
    expect(watched.live.current.evaluate(input).effect).toBe('allow')
  })

  it('a bundle that needs builtins of its host is refused by their names', async () => {
    using dir = PolicyDir.of({ 'bundle.tar.gz': bundle('needs_host') })
    await expect(Watched.open(dir.path)).rejects.toThrow('builtin_unavailable: the policy calls time.now_ns')
  })

  it('a file that is not Wasm is refused', async () => {
    using dir = PolicyDir.of({ 'policy.wasm': 'not wasm' })
    await expect(Watched.open(dir.path)).rejects.toThrow(/^policy_unusable: /)
  })
})

describe('closing', () => {
  it('ends a compilation under way and keeps the policy usable', async () => {
    using dir = PolicyDir.of({ 'authz.rego': denying('still here') })
    const { live } = await Watched.open(dir.path, 'never')
    const attempt = live.reloadNow()
    const outcome = expect(attempt).rejects.toThrow()
    await live.close()
    await outcome
    await expect(live.reloadNow()).rejects.toThrow()
    expect(live.current.evaluate(input).reasons).toEqual(['still here'])
  })
})

function denying(reason: string): string {
  return `package leasegate.authz\n\ndecision := {"effect": "deny", "reasons": ["${reason}"]}\n`
}
