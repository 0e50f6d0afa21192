// In: how policy came to its answer, and the input. Out: edits of the lease, and of what a human or the agent's
// runtime says, that might turn it into a yes. Never edits a fact of the request, nor who asks. Pure.
import { identifierCovers, sensitivityCovers, stages } from '../lease/lease.ts'
import type { PolicyAnswer } from '../ports.ts'
import { type Edit, isTree, valueAt } from './edit.ts'
import type { PolicyInput } from './input_schema.ts'
import type { Tree } from './sources.ts'
import type { Path, Trace } from './trace.ts'

const maxGrants = 8
const maxWords = 8

/** What candidates are made from. */
export interface Explained {
  readonly trace: Trace
  readonly input: PolicyInput
  readonly data: Tree
  readonly answer: PolicyAnswer
}

/** A wider grant, another stage or profile, trusted provenance, an approval, a task or environment named in a rule. */
export function leaseCandidates(explained: Explained): Edit[] {
  const { lease } = explained.input
  const words = (path: Path): Edit[] =>
    wordsFor(path, explained).map((value) => ({ op: 'set', path: ['input', ...path], value }))
  return [
    ...grantEdits(explained.input),
    ...stages
      .filter((stage) => stage !== lease.stage)
      .map((value): Edit => ({ op: 'set', path: ['input', 'lease', 'stage'], value })),
    ...words(['lease', 'agent', 'profile']),
    ...words(['lease', 'agent', 'env']),
    ...words(['lease', 'task', 'system']),
    ...approvalEdits(explained),
    ...trustEdits(explained.input),
  ]
}

function grantEdits({ lease, request }: PolicyInput): Edit[] {
  const { verb, resource, sensitivity } = request
  const granted: Path = ['input', 'lease', 'granted']
  const wider = lease.granted.slice(0, maxGrants).flatMap((grant, at): Edit[] => {
    if (!identifierCovers(grant.resource, resource)) return []
    const acts = grant.actions.includes(verb) || grant.actions.includes('*')
    const reaches = sensitivityCovers(grant.sensitivity, sensitivity)
    return [
      ...(acts ? [] : [{ op: 'append', path: [...granted, at, 'actions'], value: verb } as const]),
      ...(reaches ? [] : [{ op: 'set', path: [...granted, at, 'sensitivity'], value: sensitivity } as const]),
    ]
  })
  return [...wider, { op: 'append', path: granted, value: { actions: [verb], resource, sensitivity } }]
}

/** Those whom the answer names come before anybody; the user is never one of them. */
function approvalEdits({ input, answer, trace }: Explained): Edit[] {
  const path: Path = ['input', 'context', 'approval']
  const named = (answer.approval?.approvers ?? []).filter((person) => person !== input.lease.user)
  const persons = [...named, ...constantsWith([...path.slice(1), 'approved_by'], trace), anybodyElse(input)]
  const quorum = answer.approval?.quorum ?? 1
  return [...new Set(persons)]
    .filter((person) => person !== input.lease.user)
    .map((person) => ({
      op: 'set',
      path,
      value: {
        id: input.context.approval?.id ?? 'act_proposed',
        approved_by: peopleWith(person, named, quorum),
        kind: 'exact',
      },
    }))
}

/** As many different people as have to say yes, this one first. */
function peopleWith(person: string, named: readonly string[], quorum: number): string[] {
  const people = new Set([person, ...named].slice(0, quorum))
  while (people.size < quorum) people.add(`person ${people.size + 1} of ${named[0] ?? person}`)
  return [...people]
}

/** Stands for any person who is not the user. */
export function anybodyElse({ lease }: Pick<PolicyInput, 'lease'>): string {
  return lease.user === 'somebody else' ? 'anybody else' : 'somebody else'
}

function trustEdits({ context }: PolicyInput): Edit[] {
  if (context.provenance === 'trusted') return []
  return [{ op: 'set', path: ['input', 'context', 'provenance'], value: 'trusted' }]
}

/** Words that stand beside this one: other keys where it is a key of data, constants of conditions that read it. */
function wordsFor(path: Path, { trace, input, data }: Explained): string[] {
  const { value: now } = valueAt(input, path)
  const siblings = trace.rules
    .flatMap(({ conditions }) => conditions.flatMap(({ reads }) => reads))
    .filter((read) => read.path[0] === 'data' && read.path.includes(String(now)))
    .flatMap((read) => {
      const { value } = valueAt(data, read.path.slice(1, read.path.indexOf(String(now))))
      return isTree(value) ? Object.keys(value) : []
    })
  const readsIt = readsBelow(path, trace) ? siblings : []
  const words = new Set([...constantsWith(path, trace), ...readsIt])
  words.delete(String(now))
  return [...words].slice(0, maxWords)
}

function constantsWith(path: Path, trace: Trace): string[] {
  return trace.rules
    .flatMap(({ conditions }) => conditions)
    .filter(({ reads }) => reads.some((read) => startsWith(read.path, ['input', ...path])))
    .flatMap(({ constants }) => constants)
    .filter((word) => typeof word === 'string')
}

function readsBelow(path: Path, trace: Trace): boolean {
  return trace.rules.some(({ conditions }) =>
    conditions.some(({ reads }) => reads.some((read) => startsWith(read.path, ['input', ...path]))),
  )
}

/** Whether a path is, or lies below, another. */
export function startsWith(path: Path, above: Path): boolean {
  return above.every((key, at) => path[at] === key)
}
