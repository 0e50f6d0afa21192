// In: how policy came to its answer. Out: edits of the data that was read on the way, as its author might make
// them: a word more in a list, a higher number, a missing entry made like one that is there. Knows no name in
// the data. Bounded. Pure.
import { risks, sensitivities, stages } from '../lease/lease.ts'
import { type Edit, isTree, valueAt } from './edit.ts'
import type { Explained } from './lease_candidates.ts'
import type { Path, Read, RuleTrace } from './trace.ts'

const maxCandidates = 64
const maxMembers = 16
const maxDepth = 5
const maxDonors = 3

/** Words that a policy input and the conditions on it supply. */
interface Vocabulary {
  /** Strings of the input that the rule, or any rule, reads. */
  readonly words: readonly string[]
  readonly numbers: readonly number[]
  readonly missing: readonly Missing[]
  readonly verbs: ReadonlySet<string>
}

/** A name looked for in a variable and not found. */
interface Missing {
  readonly name: string
  /** Under this member of the variable; undefined: in the variable itself. */
  readonly under: string | undefined
}

/** Edits of the data, those first that touch what a false rule read. */
export function dataCandidates(explained: Explained): Edit[] {
  const { trace } = explained
  const shared = sharedWords(explained)
  const inOrder = [...trace.rules.filter(({ holds }) => !holds), ...trace.rules.filter(({ holds }) => holds)]
  const reads = inOrder.flatMap((rule) => {
    const vocabulary = vocabularyOf(rule, shared)
    return readsOf(rule).map((read) => ({ read, vocabulary }))
  })
  // What was only passed through says less than what was looked for.
  const passed = ({ path, within }: Read) => within && isTree(valueAt(explained.data, path.slice(1)).value)
  const edits = new Map<string, Edit>()
  for (const { read, vocabulary } of [
    ...reads.filter(({ read }) => !passed(read)),
    ...reads.filter(({ read }) => passed(read)),
  ]) {
    if (read.path[0] !== 'data') continue
    for (const edit of editsAt(read, vocabulary, explained)) {
      if (edits.size < maxCandidates) edits.set(JSON.stringify(edit), edit)
    }
  }
  return [...edits.values()]
}

function readsOf({ conditions }: RuleTrace): Read[] {
  return conditions.flatMap(({ reads, failures }) => [...failures.flat(), ...reads])
}

function sharedWords({ trace, input, data }: Explained): Vocabulary {
  const reads = trace.rules.flatMap(readsOf)
  const names = reads
    .filter(({ path, within }) => path[0] === 'data' && within)
    .flatMap(({ path }) => {
      const { value } = valueAt(data, path.slice(1))
      const keys = isTree(value) ? Object.keys(value) : []
      return keys.length <= maxMembers ? keys : []
    })
  const { verb } = input.request
  const granted = input.lease.granted.flatMap(({ actions }) => actions)
  return {
    words: unique([verb, input.lease.stage, ...names]),
    numbers: [],
    missing: reads
      .filter(({ path, lacks }) => lacks > 0 && path[0] !== 'data' && path[0] !== 'input')
      .map(({ path, lacks }) => ({
        name: String(path[lacks]),
        under: lacks === 1 ? undefined : String(path[lacks - 1]),
      })),
    verbs: new Set(['read', 'list', verb, ...granted]),
  }
}

function vocabularyOf(rule: RuleTrace, shared: Vocabulary): Vocabulary {
  const values = readsOf(rule)
    .filter(({ path }) => path[0] === 'input')
    .map(({ value }) => value)
  return {
    ...shared,
    words: unique([...values.filter((value) => typeof value === 'string'), ...shared.words]),
    numbers: unique(values.filter((value) => typeof value === 'number')),
  }
}

function editsAt({ path }: Read, vocabulary: Vocabulary, explained: Explained): Edit[] {
  const { defined, value } = valueAt(explained.data, path.slice(1))
  if (defined) {
    const own = vocabulary.missing.filter(({ under }) => under === undefined)
    return [
      ...own.flatMap(({ name }) => additions(path, name, vocabulary, explained)),
      ...editsWithin(path, value, vocabulary, explained, maxDepth),
    ]
  }
  // The last place on the way that is there.
  let end = path.length - 1
  while (!valueAt(explained.data, path.slice(1, end)).defined) end--
  return additions(path.slice(0, end), String(path[end]), vocabulary, explained)
}

function editsWithin(
  path: Path,
  value: unknown,
  vocabulary: Vocabulary,
  explained: Explained,
  depth: number,
): Edit[] {
  if (Array.isArray(value)) {
    const words = value.every((item) => typeof item === 'string') ? vocabulary.words : []
    const within = words.length > 0 ? [] : value.slice(0, maxMembers)
    return [
      ...words
        .filter((word) => !value.includes(word))
        .map((word): Edit => ({ op: 'append', path, value: word })),
      ...within.flatMap((item, at) => deeper(item, at)),
    ]
  }
  if (!isTree(value)) {
    return replacements(value, vocabulary, explained).map(
      (other): Edit => ({ op: 'set', path, value: other }),
    )
  }
  const missing = vocabulary.missing.filter(({ under }) => under === path.at(-1))
  return [
    ...Object.entries(value)
      .slice(0, maxMembers)
      .flatMap(([key, member]) => deeper(member, key)),
    ...missing.flatMap(({ name }) => additions(path, name, vocabulary, explained)),
  ]

  function deeper(member: unknown, key: string | number): Edit[] {
    return depth === 0 ? [] : editsWithin([...path, key], member, vocabulary, explained, depth - 1)
  }
}

/** Other values for a word, a number, a yes or no. */
function replacements(now: unknown, { words, numbers }: Vocabulary, { input }: Explained): unknown[] {
  if (typeof now === 'boolean') return [!now]
  if (typeof now === 'number')
    return unique(numbers.flatMap((n) => [n, n + 1, n - 1])).filter((n) => n !== now)
  if (typeof now !== 'string') return []
  const { request, lease } = input
  const scales = [
    [sensitivities, request.sensitivity],
    [risks, request.risk],
    [stages, lease.stage],
  ] as const
  const scale = scales.find(([known]) => known.some((word) => word === now))
  return (scale === undefined ? words : [scale[1]]).filter((word) => word !== now)
}

/** A member `key` that an object lacks, made like that member elsewhere, or like the object's other members. */
function additions(at: Path, key: string, vocabulary: Vocabulary, explained: Explained): Edit[] {
  const { value: holder } = valueAt(explained.data, at.slice(1))
  if (!isTree(holder) || Object.hasOwn(holder, key)) return []
  const above = at.length > 1 ? valueAt(explained.data, at.slice(1, -1)).value : undefined
  const cousins = isTree(above)
    ? Object.values(above)
        .slice(0, maxMembers)
        .map((each) => valueAt(each, [key]))
    : []
  const like = [
    ...cousins.filter(({ defined }) => defined).map(({ value }) => value),
    ...Object.values(holder).slice(0, maxMembers),
    ...named(explained.data, key, maxDepth),
  ].filter((value) => typeof value === 'object')
  const donors = unique(like.map((value) => JSON.stringify(value))).slice(0, maxDonors)
  const narrow = donors.map((text) => JSON.stringify(narrowed(JSON.parse(text), vocabulary.verbs, explained)))
  // What can be narrowed to this request is less to give away than what cannot.
  const texts = unique([...narrow.filter((text) => !donors.includes(text)), ...donors])
  const values = texts.map((text): unknown => JSON.parse(text))
  return values.map((value) => ({ op: 'set', path: [...at, key], value }))
}

/** Members of that name anywhere in the data. */
function named(value: unknown, key: string, depth: number): unknown[] {
  if (!isTree(value) || depth === 0) return []
  const members = Object.entries(value).slice(0, maxMembers)
  return members.flatMap(([name, member]) => (name === key ? [member] : named(member, key, depth - 1)))
}

/** A copy that permits this request and no more: its backend, its verb, its sensitivity. */
function narrowed(value: unknown, verbs: ReadonlySet<string>, explained: Explained): unknown {
  const { backend, verb, sensitivity } = explained.input.request
  if (Array.isArray(value)) return value.some((item) => verbs.has(item)) ? [verb] : value
  if (sensitivities.some((word) => word === value)) return sensitivity
  if (!isTree(value)) return value
  const members = Object.entries(value)
  const kept = Object.hasOwn(value, backend) ? members.filter(([name]) => name === backend) : members
  return Object.fromEntries(kept.map(([name, member]) => [name, narrowed(member, verbs, explained)]))
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)]
}
