// In: the files of a directory of agents. Out: all agents that they describe. Throws `ConfigError` with every
// problem of every file, by file, line and column. Never: half a set, and never a name or a credential that
// two agents share: whoever has it would be both.
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { z } from 'zod'
import type { AgentCredential, AgentEntry, AgentRegistry } from '../broker/parties.ts'
import { agentName } from '../lease/lease.ts'
import {
  type AgentFile,
  type AgentRules,
  checkAgentRelations,
  type Report,
  workloadKey,
} from './agent_relations.ts'
import { agentSchema, jwksSchema, type ParsedAgent, type ParsedJwks } from './agent_schema.ts'
import { parseSource } from './document.ts'
import { reportIssue } from './load.ts'
import { ConfigError, type ConfigProblem, writePath } from './problems.ts'
import { errorCode } from './references.ts'

/** What a directory holds at one moment. Equal versions: equal content. */
export interface AgentReading {
  readonly dir: string
  readonly version: string
  /** Text by name. */
  readonly files: ReadonlyMap<string, string>
  /** What kept a file, or all of them, from being read. */
  readonly faults: readonly ConfigProblem[]
}

const maxFileBytes = 256 * 1024

/** What editors and volumes put beside the files begins with a dot or ends in something else. */
const isRead = (name: string) => /^[^.].*\.(yaml|yml|json)$/.test(name)

/** Reads the directory. Never rejects: what cannot be read is a fault of the reading. */
export async function readAgentFiles(dir: string): Promise<AgentReading> {
  const files = new Map<string, string>()
  const faults: ConfigProblem[] = []
  const version = createHash('sha256')
  const report = (file: string, message: string) => {
    faults.push({ file, line: 1, column: 1, path: '', message })
    version.update(`${file}\0${message}\0`)
  }
  const names = await readdir(dir).catch((error) => {
    report(dir, `name a directory that can be read: ${errorCode(error)}`)
    return []
  })
  for (const name of names.filter(isRead).toSorted()) {
    const file = join(dir, name)
    const bytes = await readFile(file).catch((error) => report(file, `make it readable: ${errorCode(error)}`))
    if (bytes === undefined) continue
    version.update(`${name}\0${bytes.byteLength}\0`).update(bytes)
    if (bytes.byteLength > maxFileBytes) report(file, 'keep it below 256 KiB')
    else files.set(name, bytes.toString('utf8'))
  }
  return { dir, version: version.digest('hex'), files, faults }
}

type Jwks = readonly Readonly<Record<string, unknown>>[]

/** What files were parsed to, by their text: of a thousand files one changes at a time. */
export interface AgentMemo {
  readonly agents: Map<string, ParsedAgent>
  readonly keySets: Map<string, ParsedJwks>
}

/** An empty one, for one directory. */
export function createMemo(): AgentMemo {
  return { agents: new Map(), keySets: new Map() }
}

/** The agents of a reading. Throws `ConfigError`. */
export function parseAgents(
  { dir, files, faults }: AgentReading,
  rules: AgentRules,
  memo: AgentMemo = createMemo(),
): AgentRegistry {
  const problems = [...faults]

  function reporter(name: string): Report {
    return (path, message) => {
      const { line, column } = parseSource(files.get(name) ?? '').locate(path)
      problems.push({ file: join(dir, name), line, column, path: writePath(path), message })
    }
  }

  /** Undefined, and reported, when the file is not as the schema has it. */
  function parseFile<T>(name: string, schema: z.ZodType<T>, known: Map<string, T>): T | undefined {
    const text = files.get(name) ?? ''
    if (known.has(text)) return known.get(text)
    const source = parseSource(text)
    problems.push(...source.faults.map((fault) => ({ file: join(dir, name), path: '', ...fault })))
    if (source.faults.length > 0) return undefined
    const { data, error } = schema.safeParse(source.value)
    for (const issue of error?.issues ?? []) reportIssue(issue, reporter(name))
    if (data !== undefined) known.set(text, data)
    return data
  }

  // JSON is YAML, so a key set is read, and its problems placed, as the agents' files are.
  const keySets = new Map<string, Jwks>()
  const agents: AgentFile[] = []
  const names = [...files.keys()]
  for (const name of names.filter((each) => each.endsWith('.json'))) {
    keySets.set(name, parseFile(name, jwksSchema, memo.keySets)?.keys ?? [])
  }
  for (const name of names.filter((each) => !each.endsWith('.json'))) {
    const report = reporter(name)
    if (name.endsWith('.yml')) report([], 'call it .yaml: no other name is read')
    const file = parseFile(name, agentSchema, memo.agents)
    if (file !== undefined) agents.push({ entry: buildEntry(file, keySets, report), report })
  }
  forget(memo, new Set(files.values()))
  checkAgentRelations(agents, rules)
  if (problems.length > 0) throw new ConfigError(problems)
  return createRegistry(agents.map(({ entry }) => entry))
}

/** Lets go of texts that are in no file any more. */
function forget({ agents, keySets }: AgentMemo, texts: ReadonlySet<string>): void {
  for (const map of [agents, keySets]) {
    for (const text of map.keys()) if (!texts.has(text)) map.delete(text)
  }
}

function buildEntry(file: ParsedAgent, keySets: ReadonlyMap<string, Jwks>, report: Report): AgentEntry {
  return {
    clientId: file.client_id,
    agent: agentName(file.agent ?? file.client_id),
    version: file.version,
    env: file.env,
    profile: file.profile,
    tenant: file.tenant ?? '',
    credentials: file.credentials.map((each, index) =>
      buildCredential(each, keySets, (message) => report(['credentials', index], message)),
    ),
    delegatesTo: file.delegates_to.map(agentName),
  }
}

function buildCredential(
  credential: ParsedAgent['credentials'][number],
  keySets: ReadonlyMap<string, Jwks>,
  report: (message: string) => void,
): AgentCredential {
  if (credential.method !== 'private_key_jwt') return credential
  const { method, jwks, jwks_file: file } = credential
  if ((jwks === undefined) === (file === undefined)) report('write exactly one of jwks and jwks_file')
  if (jwks !== undefined || file === undefined) return { method, jwks: jwks?.keys ?? [] }
  const name = file.replace('./', '')
  const keys = keySets.get(name)
  if (keys === undefined) report('name a key set that is there: jwks_file lies in the same directory')
  return { method, jwks: keys ?? [] }
}

function createRegistry(entries: readonly AgentEntry[]): AgentRegistry {
  const byClientId = new Map(entries.map((entry) => [entry.clientId, entry]))
  const byAgent = new Map(entries.map((entry) => [entry.agent, entry]))
  const byWorkload = new Map(
    entries.flatMap((entry) =>
      entry.credentials.flatMap((each) =>
        each.method === 'workload_jwt' ? [[workloadKey(each.issuer, each.subject), entry] as const] : [],
      ),
    ),
  )
  return {
    byClientId: (clientId) => byClientId.get(clientId),
    byAgent: (agent) => byAgent.get(agent),
    byWorkload: (issuer, subject) => byWorkload.get(workloadKey(issuer, subject)),
    all: () => entries,
  }
}
