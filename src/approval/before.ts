// What an approver is shown of what stands there now: the reading operation that the map names beside a write. In:
// the stored call and the map as it is now. Out: the read, and a lease for this one read in the approver's own name.
// Pure; whether they may read it is for policy to say, as of anybody.
import type { Backend, Operation } from '../enforce/operation.ts'
import type { ReceiveRules } from '../enforce/receive.ts'
import { receive } from '../enforce/receive.ts'
import { type Router, route } from '../enforce/route.ts'
import { type Lease, revocationKeys } from '../lease/lease.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { Person } from './action.ts'
import type { HeldCall } from './actions.ts'

/** The agent, the profile and the issuer of what people read in the console. */
export const consoleAgent = 'agent:leasegate-console'
export const consoleProfile = 'leasegate-console'
const consoleIssuer = 'leasegate:console'

/** The read: as the write was sent, to the place that it is about. */
export interface BeforeRead {
  readonly call: Omit<HeldCall, 'lease'>
  readonly backend: Backend
  readonly operation: Operation
  /** With the backend's name. */
  readonly resource: string
}

/** The map of the gate. */
export interface BeforeMap {
  readonly rules: ReceiveRules
  readonly router: Router
}

/**
 * The read that belongs to `write`. Refuses with `operation_unmapped` where the write is not mapped any more or its
 * operation names none.
 */
export function beforeRead(write: HeldCall, { rules, router }: BeforeMap): BeforeRead | Refusal {
  const found = find(write, write.method, write.target, { rules, router })
  if (isRefusal(found)) return found
  const { backend, mapped } = found
  const named = backend.operations.find(({ match }) => match === mapped.operation.before)
  if (named === undefined) return refuse('operation_unmapped', { detail: 'the map names no read beside it' })
  const path = write.target.split('?', 1)[0]!
  const prefix = path.slice(0, path.length - mapped.backendPath.length)
  const target = prefix + fill(named, segmentsOf(mapped.operation, mapped.backendPath))
  const read = find(write, named.method, target, { rules, router })
  if (isRefusal(read)) return read
  // What the read leads to is what the map names, or nothing is shown (a literal may stand where a parameter does).
  if (read.mapped.operation !== named)
    return refuse('operation_unmapped', { detail: 'another read is mapped there' })
  const { authority, peer } = write
  const call = { method: named.method, target, authority, headers: [], body: new Uint8Array(), peer }
  const { resource } = read.mapped
  return { call: { ...call, provenance: 'trusted' }, backend, operation: named, resource }
}

function find({ authority, peer }: HeldCall, method: string, target: string, { rules, router }: BeforeMap) {
  const head = { method, target, httpVersion: '1.1', rawHeaders: ['host', authority], peer }
  const request = receive(head, rules)
  if (isRefusal(request)) return request
  const { backend, mapped } = route(request, router)
  if (isRefusal(mapped)) return mapped
  return backend === undefined ? refuse('operation_unmapped') : { backend, mapped }
}

/** Parameters of a path as they were sent: they are put into another path, and mean the same there. */
function segmentsOf({ segments }: Operation, backendPath: string): ReadonlyMap<string, string> {
  const sent = backendPath.slice(1).split('/')
  return new Map(segments.flatMap((each, at) => ('param' in each ? [[each.param, sent[at] ?? '']] : [])))
}

function fill({ segments }: Operation, sent: ReadonlyMap<string, string>): string {
  return `/${segments.map((each) => ('literal' in each ? each.literal : sent.get(each.param))).join('/')}`
}

/** How long such a lease lasts, seconds. */
const leaseSeconds = 30

/** A lease for this one read, whose user is the person that asks. */
export function consoleLease(
  {
    user,
    session,
    action,
    audience,
  }: Pick<Person, 'user'> & {
    /** Of the console; empty: none. */
    readonly session: string
    /** Id of the action that is looked at. */
    readonly action: string
    readonly audience: string
  },
  { backend, operation, resource }: Pick<BeforeRead, 'backend' | 'operation' | 'resource'>,
  { id, tokenId, now }: Pick<Lease, 'id' | 'tokenId'> & { readonly now: number },
): Lease {
  const { verb, sensitivity } = operation
  const facts = {
    id,
    issuer: consoleIssuer,
    tokenId,
    user,
    agent: {
      id: consoleAgent,
      version: '1',
      env: backend.env ?? '',
      instance: '',
      profile: consoleProfile,
      profileVersion: '1',
    },
    clientId: consoleProfile,
    audience,
    task: { system: 'leasegate', id: action, purpose: 'see what stands there before a change is approved' },
    stage: 'observe',
    session,
    grants: [{ actions: [verb], identifier: resource, sensitivity, constraints: {} }],
    binding: undefined,
    delegatedBy: [],
    ancestors: [],
    issuedAt: now,
    notBefore: now,
    expiresAt: now + leaseSeconds,
    maxExpiresAt: now + leaseSeconds,
    clockTolerance: 0,
  } as const
  return { ...facts, revocationKeys: revocationKeys(facts) }
}
