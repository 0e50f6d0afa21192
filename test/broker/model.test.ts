// Delegated, not amplified: whatever is asked, renewed, handed on, taken back or changed, in whatever order, no
// token ever lets through at the gate what its user, an agent of its chain, its request or its parent does not.
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { IssuePolicy } from '../../src/broker/issue_decision.ts'
import { coveringGrant } from '../../src/enforce/checks.ts'
import type { LeaseDetail } from '../../src/lease/allow.ts'
import {
  identifierCovers,
  type Risk,
  risks,
  type Sensitivity,
  sensitivityCovers,
} from '../../src/lease/lease.ts'
import {
  asJson,
  detail,
  entry,
  exchangeForm,
  handOverForm,
  keyOf,
  leaseForm,
  openWorld,
  tablePolicy,
  type World,
} from './world.ts'

const names = ['triage', 'reader', 'writer'] as const
const people = ['alice', 'bob'] as const
const verbs = ['read', 'update'] as const
const levels = ['internal', 'confidential'] as const
const resources = ['crm:a/1', 'crm:a/1/x', 'crm:b/1'] as const
const maxRisks = [undefined, ...risks] as const

interface Request {
  readonly verb: string
  readonly resource: string
  readonly sensitivity: Sensitivity
  readonly risk: Risk
}
const universe: readonly Request[] = verbs.flatMap((verb) =>
  resources.flatMap((resource) =>
    levels.flatMap((sensitivity) => risks.map((risk) => ({ verb, resource, sensitivity, risk }))),
  ),
)

type Authority = ReadonlySet<Request>
type Grants = readonly {
  readonly actions: readonly string[]
  readonly identifier: string
  readonly sensitivity: Sensitivity
  readonly constraints?: Readonly<Record<string, unknown>>
}[]

/** What details mean, said once more and without the order that is under test. */
const meaning = (details: readonly LeaseDetail[]): Authority =>
  new Set(
    universe.filter(({ verb, resource, sensitivity, risk }) =>
      details.some(
        (one) =>
          one.actions.includes(verb) &&
          identifierCovers(one.identifier, resource) &&
          sensitivityCovers(one.sensitivity, sensitivity) &&
          risks.indexOf(risk) <= risks.indexOf(one.constraints?.max_risk ?? 'high'),
      ),
    ),
  )

/** What the gate lets through under a token; the ceiling on risk is held here, whether or not the gate does. */
const atGate = (grants: Grants): Authority =>
  new Set(
    universe.filter(({ verb, resource, sensitivity, risk }) => {
      const open = grants.flatMap(({ constraints: { max_risk: ceiling, ...rest } = {}, ...grant }) =>
        risks.indexOf(risk) <= risks.indexOf((ceiling as Risk | undefined) ?? 'high')
          ? [{ ...grant, constraints: rest }]
          : [],
      )
      const operation = { verb, sensitivity, risk }
      return coveringGrant({ grants: open }, { resource, operation }) !== undefined
    }),
  )

const both = (a: Authority, b: Authority): Authority => new Set([...a].filter((request) => b.has(request)))

const anyDetail = fc
  .record({
    verbs: fc.subarray([...verbs], { minLength: 1 }),
    identifier: fc.constantFrom(...resources, 'crm:a/*', 'crm:b/*'),
    level: fc.constantFrom(...levels),
    risk: fc.constantFrom(...maxRisks),
  })
  .map(({ verbs: actions, identifier, level, risk }) =>
    detail(`${actions.join(',')} ${identifier} ${level}`, risk && { max_risk: risk }),
  )
const anyTable = fc.oneof(
  { weight: 2, arbitrary: fc.constant([detail('read,update crm:a/*'), detail('read crm:b/*')]) },
  { weight: 1, arbitrary: fc.array(anyDetail, { maxLength: 3 }) },
)
const anyAsk = fc.option(fc.array(anyDetail, { minLength: 1, maxLength: 2 }), { nil: undefined })
const lease = fc.nat({ max: 1000 })
const agent = fc.constantFrom(...names)
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('exchange' as const),
      agent,
      person: fc.constantFrom(...people),
      ask: anyAsk,
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('renew' as const), lease, ask: anyAsk }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('hand on' as const), lease, agent, ask: anyAsk }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('user rights' as const),
      person: fc.constantFrom(...people),
      table: anyTable,
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('agent rights' as const), agent, table: anyTable }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('generous policy' as const), on: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('revoke' as const), lease }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('revoke agent' as const), agent }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('complete' as const), lease }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('suspend' as const), lease, on: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('wait' as const), seconds: fc.integer({ min: 1, max: 200 }) }),
  },
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

/** A token that came out, and the most that it may let through. */
interface Held {
  readonly token: string
  readonly id: string
  readonly agent: string
  readonly person: string
  /** Agents of the chain, the acting one first. */
  readonly chain: readonly string[]
  /** Leases that keep it alive: its own and those above it. */
  readonly ids: readonly string[]
  readonly allowed: Authority
  readonly maxExp: number
}

const counts: Record<string, number> = {}
const count = (what: string) => {
  counts[what] = (counts[what] ?? 0) + 1
}

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())

/** Says yes to everything, so that only the broker itself stands between a request and more than it may have. */
const generous: IssuePolicy = {
  digest: 'sha256:generous',
  decide: () => ({
    effect: 'grant',
    reasons: [],
    grant: {
      details: [detail('read,update crm:a/* restricted'), detail('read,update crm:b/* restricted')],
      stage: 'execute',
      ttlSeconds: 1e9,
      leaseSeconds: 1e9,
      profileVersion: '1',
    },
  }),
}

let runs = 0

/** One history, on agents and people of its own so that revocations of other histories do not touch it. */
class History {
  readonly #run = ++runs
  readonly #held: Held[] = []
  readonly #dead = new Set<string>()
  #generous = false

  constructor() {
    for (const name of names) {
      const delegatesTo = names.map((each) => `agent:${this.agent(each)}`)
      const own = entry(this.agent(name), { delegatesTo })
      world.agents.set(own.clientId, own)
      world.actors.set(own.clientId, {
        entry: own,
        method: 'private_key_jwt',
        instance: '',
        key: keyOf(own.clientId),
      })
      world.rights.profiles[own.profile] = [detail('read,update crm:a/*'), detail('read,update crm:b/*')]
    }
    for (const person of people) {
      world.rights.users[this.agent(person)] = [detail('read,update crm:a/*'), detail('read crm:b/*')]
    }
    world.policy.current = tablePolicy(world.rights)
  }

  agent(name: string): string {
    return `${name}-${this.#run}`
  }

  async take(step: Step): Promise<void> {
    switch (step.do) {
      case 'exchange': {
        const person = this.agent(step.person)
        const session = `ses_${person}`
        world.subject(person, {
          id: person,
          session,
          issuedAt: world.clock.now,
          expiresAt: world.clock.now + 500,
        })
        const agentName = this.agent(step.agent)
        const form = exchangeForm(agentName, person, askFor(step.ask))
        return this.#expect(form, {
          agent: agentName,
          key: agentName,
          person,
          chain: [agentName],
          ask: step.ask,
          parent: undefined,
          kind: 'exchange',
        })
      }
      case 'renew': {
        const parent = this.#pick(step.lease)
        if (parent === undefined) return
        const { agent: name, person, chain } = parent
        const form = leaseForm(name, parent.token, askFor(step.ask))
        return this.#expect(form, {
          agent: name,
          key: name,
          person,
          chain,
          ask: step.ask,
          parent,
          kind: 'renewal',
        })
      }
      case 'hand on': {
        const parent = this.#pick(step.lease)
        if (parent === undefined) return
        const child = this.agent(step.agent)
        const form = handOverForm(parent.agent, parent.token, child, askFor(step.ask))
        const chain = [child, ...parent.chain]
        return this.#expect(form, {
          agent: child,
          key: parent.agent,
          person: parent.person,
          chain,
          ask: step.ask,
          parent,
          kind: 'delegation',
        })
      }
      case 'user rights':
        world.rights.users[this.agent(step.person)] = step.table
        return
      case 'agent rights':
        world.rights.profiles[this.agent(step.agent)] = step.table
        return
      case 'generous policy':
        this.#generous = step.on
        world.policy.current = step.on ? generous : tablePolicy(world.rights)
        return
      case 'wait':
        return world.pass(step.seconds)
      default:
        return this.#end(step)
    }
  }

  async #end(step: Extract<Step, { do: 'revoke' | 'revoke agent' | 'complete' | 'suspend' }>): Promise<void> {
    const at = Math.floor(world.clock.now)
    const facts = { expiresAt: at + 1e6, reason: 'r', by: 'b', at }
    const { revocations, leases } = world.store
    if (step.do === 'revoke agent') {
      const value = `agent:${this.agent(step.agent)}`
      await revocations.revoke({ scope: 'agent', value, cutoff: at, ...facts })
      for (const { id, chain } of this.#held) if (chain.includes(this.agent(step.agent))) this.#dead.add(id)
      return
    }
    const id = this.#pick(step.lease)?.id
    if (id === undefined) return
    if (step.do === 'revoke')
      await revocations.revoke({ scope: 'lease', value: id, cutoff: Number.MAX_SAFE_INTEGER, ...facts })
    if (step.do === 'complete') {
      const from = ['active', 'suspended'] as const
      await leases.transition(id, { from, to: 'completed', at, by: 'b', reason: 'r' })
    }
    if (step.do === 'suspend') {
      const to = step.on ? 'suspended' : 'active'
      const from = step.on ? (['active'] as const) : (['suspended'] as const)
      const changed = await leases.transition(id, { from, to, at, by: 'b', reason: 'r' })
      if (changed.outcome === 'changed') {
        await revocations.suspend({
          lease: id,
          suspended: step.on,
          version: changed.record.version,
          ...facts,
        })
      }
      return
    }
    this.#dead.add(id)
  }

  #pick(n: number): Held | undefined {
    return this.#held.length === 0 ? undefined : this.#held[n % this.#held.length]
  }

  async #stands(parent: Held): Promise<boolean> {
    for (const id of parent.ids) {
      const record = await world.store.leases.get(id)
      if (record?.state !== 'active' || this.#dead.has(id)) return false
    }
    return true
  }

  async #expect(
    form: Readonly<Record<string, string>>,
    asked: {
      agent: string
      key: string
      person: string
      chain: readonly string[]
      ask: readonly LeaseDetail[] | undefined
      parent: Held | undefined
      kind: string
    },
  ): Promise<void> {
    const { chain, person, ask, parent, kind } = asked
    const stood = parent === undefined || (await this.#stands(parent))
    const { body } = await world.post(form, asked.key)
    if (body.access_token === undefined) return count(`${kind} refused`)
    expect(stood).toBe(true)
    expect(chain.length).toBeLessThanOrEqual(3)
    let allowed: Authority = new Set(universe)
    if (ask !== undefined) allowed = both(allowed, meaning(ask))
    if (parent !== undefined) allowed = both(allowed, parent.allowed)
    if (!this.#generous) {
      allowed = both(allowed, meaning(world.rights.users[person] ?? []))
      for (const name of chain) allowed = both(allowed, meaning(world.rights.profiles[name] ?? []))
    }
    const lease = await world.read(body.access_token)
    const real = atGate(lease.grants)
    expect([...real].filter((request) => !allowed.has(request))).toEqual([])
    // High risk is never granted to who has not named it: in this request, or in that of the lease before.
    const named = ask !== undefined || kind === 'renewal'
    if (!named) expect([...real].filter(({ risk }) => risk === 'high')).toEqual([])
    const maxExp = Math.min(
      parent?.maxExp ?? Number.POSITIVE_INFINITY,
      world.clock.now + (kind === 'exchange' ? 500 : 1e9),
    )
    expect(lease.maxExpiresAt).toBeLessThanOrEqual(maxExp)
    expect(lease.expiresAt).toBeLessThanOrEqual(Math.min(lease.maxExpiresAt, world.clock.now + 300))
    expect([lease.user, lease.agent.id, lease.binding]).toEqual([
      person,
      `agent:${asked.agent}`,
      keyOf(asked.agent),
    ])
    expect(lease.delegatedBy.map(({ id }) => id)).toEqual(chain.slice(1).map((name) => `agent:${name}`))
    count(`${kind} given`)
    if (real.size > 0) count(`${kind} with authority`)
    const ids = kind === 'renewal' ? parent!.ids : [lease.id, ...(parent?.ids ?? [])]
    expect([lease.id, ...lease.ancestors]).toEqual(ids)
    this.#held.push({
      token: String(body.access_token),
      id: lease.id,
      agent: asked.agent,
      person,
      chain,
      ids,
      allowed: real,
      maxExp: lease.maxExpiresAt,
    })
  }
}

function askFor(ask: readonly LeaseDetail[] | undefined): Readonly<Record<string, string>> {
  return ask === undefined ? {} : { authorization_details: asJson(...ask) }
}

test('no history yields authority outside of user, agents, request and parent', async () => {
  const histories = fc.array(step, { minLength: 12, maxLength: 24, size: 'max' })
  await fc.assert(
    fc.asyncProperty(histories, async (steps) => {
      const history = new History()
      for (const each of steps) await history.take(each)
    }),
    { numRuns: 80 },
  )
  // The histories reach what they are about: each kind is given with authority, and refused.
  for (const kind of ['exchange', 'renewal', 'delegation']) {
    expect(counts[`${kind} with authority`]).toBeGreaterThan(10)
    expect(counts[`${kind} refused`]).toBeGreaterThan(10)
  }
}, 60_000)
