// In: the plain values of the file, valid or not. Out: the problems between backends and between operations.
// Never: a guess which of two backends or operations a request was meant for.
import { lenientName } from '../enforce/target.ts'
import { listeners, listenerUrl } from './listeners.ts'
import {
  type Match,
  overlaps,
  parseAmountSource,
  parseMatch,
  readingVerbs,
  unknownParameters,
} from './operations.ts'
import type { ConfigPath } from './problems.ts'
import { parseBackendUrl, parsePathPrefix, parseSize } from './scalars.ts'
import { at, isMapping, type Relation, type RelationScope, reportRepeats, select, textAt } from './select.ts'

/** Every relation of `backends`, in the order they are checked. */
export const backendRelations: readonly Relation[] = [
  backendNamesArePlain,
  backendsAreReachable,
  backendsAreNotTheGate,
  prefixesAreDisjoint,
  hostsAreDistinct,
  operationsAreDisjoint,
  resourcesUseTheirParameters,
  writesAreNotCalledReads,
  audiencesNameTheWholeGate,
  inspectedBodiesFit,
  amountsAreRead,
  beforesAreReads,
]

function backendNamesArePlain(root: unknown, scope: RelationScope): void {
  for (const { path } of select(root, ['backends', '*'])) {
    const name = String(path[1])
    if (!/^[a-z][a-z0-9_-]{0,62}$/.test(name)) {
      scope.report(path, 'rename it to a lower-case word: it starts resource names and labels metrics')
    } else if (name === 'none')
      scope.report(path, 'choose another name: metrics call requests without backend none')
    else if (name === 'leasegate')
      scope.report(path, 'choose another name: leasegate is the canary that every gate has (drill revoke)')
  }
}

function backendsAreReachable(root: unknown, scope: RelationScope): void {
  const names = at(root, ['backends'])
  if (isMapping(names) && Object.keys(names).length === 0)
    scope.report(['backends'], 'add at least one backend')
  for (const { path, value } of select(root, ['backends', '*'])) {
    const hosts = at(value, ['hosts'])
    const none = hosts === undefined || (Array.isArray(hosts) && hosts.length === 0)
    if (at(value, ['path_prefix']) === undefined && none) scope.report(path, 'add path_prefix or hosts')
    const prefix = textAt(value, ['path_prefix'])
    const reserved = ['/.well-known', '/access'].find((own) => `${prefix}/`.startsWith(`${own}/`))
    if (reserved !== undefined) {
      scope.report([...path, 'path_prefix'], `choose another prefix: ${reserved} is answered by the gate`)
    }
  }
}

function backendsAreNotTheGate(root: unknown, scope: RelationScope): void {
  const own = listeners(root).flatMap((listen) => [listenerUrl(listen), listenerUrl(listen, true)])
  const origins = [textAt(root, ['public_origin']), ...own]
  for (const { path, value } of select(root, ['backends', '*', 'url'])) {
    const outcome = parseBackendUrl(String(value))
    if ('value' in outcome && origins.includes(outcome.value.origin)) {
      scope.report(path, 'write the address of the API: this one is the gate itself')
    }
  }
}

function prefixesAreDisjoint(root: unknown, scope: RelationScope): void {
  const prefixes = select(root, ['backends', '*', 'path_prefix']).filter(
    ({ value }) => 'value' in parsePathPrefix(String(value)),
  )
  for (const [index, later] of prefixes.entries()) {
    const earlier = prefixes.slice(0, index).find(({ value }) => nested(String(value), String(later.value)))
    if (earlier === undefined) continue
    scope.report(
      later.path,
      `choose another prefix: one of the two contains the other (line ${scope.lineOf(earlier.path)})`,
    )
  }
}

function nested(a: string, b: string): boolean {
  return `${a}/`.startsWith(`${b}/`) || `${b}/`.startsWith(`${a}/`)
}

function hostsAreDistinct(root: unknown, scope: RelationScope): void {
  const hosts = select(root, ['backends', '*', 'hosts', '*'])
  reportRepeats(hosts, scope, 'name each host once, for one backend')
  const own = URL.parse(textAt(root, ['public_origin']) ?? '')?.host
  for (const { path, value } of hosts) {
    if (value === own)
      scope.report(path, 'remove it: public_origin has this authority, use path_prefix there')
  }
}

function operationsAreDisjoint(root: unknown, scope: RelationScope): void {
  for (const backend of select(root, ['backends', '*'])) {
    const earlier = new Map<string, { path: ConfigPath; match: Match }[]>()
    for (const { path, value } of select(backend.value, ['operations', '*', 'match'], backend.path)) {
      const outcome = parseMatch(String(value))
      if ('fault' in outcome) continue
      const match = outcome.value
      const alike = earlier.get(`${match.method} ${match.segments.length}`) ?? []
      const other = alike.find((candidate) => overlaps(candidate.match, match))
      if (other !== undefined) {
        scope.report(
          path,
          `change or remove it: the operation at line ${scope.lineOf(other.path)} matches the same paths`,
        )
      }
      earlier.set(`${match.method} ${match.segments.length}`, [...alike, { path, match }])
    }
  }
}

function resourcesUseTheirParameters(root: unknown, scope: RelationScope): void {
  for (const { path, value } of select(root, ['backends', '*', 'operations', '*'])) {
    const match = parseMatch(textAt(value, ['match']) ?? '')
    if ('fault' in match) continue
    for (const name of unknownParameters(textAt(value, ['resource']) ?? '', match.value)) {
      scope.report([...path, 'resource'], `use a parameter of match: {${name}} is not one`)
    }
  }
}

/** A write called `read` would pass for one: no stage, profile or intent record would hold it back. */
function writesAreNotCalledReads(root: unknown, scope: RelationScope): void {
  for (const { path, value } of select(root, ['backends', '*', 'operations', '*'])) {
    const match = parseMatch(textAt(value, ['match']) ?? '')
    const verb = textAt(value, ['verb'])
    // POST is left out: APIs search with it.
    if ('fault' in match || !['PUT', 'PATCH', 'DELETE'].includes(match.value.method)) continue
    if (verb !== undefined && readingVerbs.includes(verb)) {
      scope.report([...path, 'verb'], `choose a verb that writes: ${match.value.method} is no ${verb}`)
    }
  }
}

/** `issuers[].audience` is accepted for every backend; were it one backend's name, its tokens would open all. */
function audiencesNameTheWholeGate(root: unknown, scope: RelationScope): void {
  const origin = textAt(root, ['public_origin']) ?? ''
  const prefixes = select(root, ['backends', '*', 'path_prefix'])
  const hosts = select(root, ['backends', '*', 'hosts', '*'])
  const backendNames = [
    ...prefixes.map(({ value }) => `${origin}${value}`),
    ...hosts.map(({ value }) => `${origin.split('//', 1)[0]}//${value}`),
  ]
  for (const { path, value } of select(root, ['issuers', '*', 'audience'])) {
    if (backendNames.includes(String(value))) {
      scope.report(path, 'name the whole gate: this is the name of one backend, and would open them all')
    }
  }
}

function inspectedBodiesFit(root: unknown, scope: RelationScope): void {
  const inspected = parseSize(textAt(root, ['limits', 'inspected_body']) ?? '256KiB', '0B', '64MiB')
  for (const { path, value } of select(root, ['backends', '*', 'operations', '*'])) {
    const limit = parseSize(textAt(value, ['body_limit']) ?? '0B', '0B', '64GiB')
    if (textAt(value, ['body']) !== 'json' || 'fault' in limit || 'fault' in inspected) continue
    if (limit.value > inspected.value) {
      scope.report(
        [...path, 'body_limit'],
        'lower it to limits.inspected_body at most, or raise that: JSON is held whole',
      )
    }
  }
}

/** An amount has to be read before the decision, and to have one reading. */
function amountsAreRead(root: unknown, scope: RelationScope): void {
  for (const { path, value } of select(root, ['backends', '*', 'operations', '*'])) {
    const outcome = parseAmountSource(textAt(value, ['amount']) ?? '')
    if ('fault' in outcome) continue
    const source = outcome.value
    if (source.from === 'body' && textAt(value, ['body']) !== 'json') {
      scope.report([...path, 'amount'], 'write body: json in this operation: no other body is read')
    }
    const opaque = at(value, ['opaque_query'])
    const names = Array.isArray(opaque) ? opaque.map((name) => lenientName(String(name))) : []
    const name = source.from === 'query' ? source.name : source.path[0]!
    if (names.includes(lenientName(name))) {
      scope.report([...path, 'amount'], 'remove the parameter from opaque_query: it could repeat there')
    }
  }
}

/** What an approver is shown beside a write: a mapped read of the same backend, of whatever the write names. */
function beforesAreReads(root: unknown, scope: RelationScope): void {
  for (const backend of select(root, ['backends', '*'])) {
    const operations = select(backend.value, ['operations', '*'], backend.path)
    for (const { path, value } of operations) {
      const before = textAt(value, ['before'])
      const match = parseMatch(textAt(value, ['match']) ?? '')
      const named = parseMatch(before ?? '')
      if (before === undefined || 'fault' in match || 'fault' in named) continue
      const read = operations.find((other) => textAt(other.value, ['match']) === before)
      const unknown = unknownParameters(before.slice(before.indexOf('/') + 1), match.value)
      const problem = beforeProblem(named.value.method, read && textAt(read.value, ['verb']), unknown)
      if (problem !== undefined) scope.report([...path, 'before'], problem)
    }
  }
}

function beforeProblem(
  method: string,
  verb: string | undefined,
  [unknown]: readonly string[],
): string | undefined {
  if (verb === undefined) return 'name an operation of this backend, written as its match'
  if (method !== 'GET' || !readingVerbs.includes(verb)) return 'name an operation that reads with GET'
  return unknown === undefined ? undefined : `use parameters of match alone: {${unknown}} is not one`
}
