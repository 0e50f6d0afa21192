// In: the files of a directory of agents. Out: all agents that they describe. Throws `ConfigError` with every
// problem of every file, by file, line and column. Never: half a set, and never a name or a credential that
// two agents share: whoever has it would be both.
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { AgentCredential, AgentEntry, AgentRegistry } from '../broker/parties.ts'
import { agentName } from '../lease/lease.ts'
import { agentSchema, jwksSchema, type ParsedAgent } from './agent_schema.ts'
import { parseSource } from './document.ts'
import { reportIssue } from './load.ts'
import { ConfigError, type ConfigPath, type ConfigProblem, nearest, writePath } from './problems.ts'
import { errorCode } from './references.ts'

/** What agents' files are held against. */
export interface AgentRules {
  /** Issuers of the identity providers with `subjects: agents`. */
  readonly workloadIssuers: readonly string[]
}

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

type Report = (path: ConfigPath, message: string) => void
type Jwks = readonly Readonly<Record<string, unknown>>[]

/** One agent, and how to report a problem at a path of its file. */
interface AgentFile {
  readonly entry: AgentEntry
  readonly report: Report
}

/** The agents of a reading. Throws `ConfigError`. */
export function parseAgents({ dir, files, faults }: AgentReading, rules: AgentRules): AgentRegistry {
  const problems = [...faults]

  /** Value of a file, with the way to report problems of it; undefined, and reported, when it is no YAML. */
  function parseFile(name: string): { value: unknown; report: Report } | undefined {
    const file = join(dir, name)
    const source = parseSource(files.get(name) ?? '')
    problems.push(...source.faults.map((fault) => ({ file, path: '', ...fault })))
    if (source.faults.length > 0) return undefined
    const report: Report = (path, message) => {
      problems.push({ file, ...source.locate(path), path: writePath(path), message })
    }
    return { value: source.value, report }
  }

  // JSON is YAML, so a key set is read, and its problems placed, as the agents' files are.
  const keySets = new Map<string, Jwks>()
  for (const name of files.keys()) {
    const file = name.endsWith('.json') ? parseFile(name) : undefined
    if (file === undefined) continue
    const parsed = jwksSchema.safeParse(file.value)
    for (const issue of parsed.error?.issues ?? []) reportIssue(issue, file.report)
    keySets.set(name, parsed.data?.keys ?? [])
  }

  const agents: AgentFile[] = []
  for (const name of files.keys()) {
    const file = name.endsWith('.json') ? undefined : parseFile(name)
    if (file === undefined) continue
    if (name.endsWith('.yml')) file.report([], 'call it .yaml: no other name is read')
    const parsed = agentSchema.safeParse(file.value)
    for (const issue of parsed.error?.issues ?? []) reportIssue(issue, file.report)
    if (!parsed.success) continue
    agents.push({ entry: buildEntry(parsed.data, keySets, file.report), report: file.report })
  }
  for (const relation of [namesAreDistinct, credentialsAreDistinct, delegatesExist]) relation(agents)
  workloadIssuersAreKnown(agents, rules)
  if (problems.length > 0) throw new ConfigError(problems)
  return createRegistry(agents.map(({ entry }) => entry))
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

/** Reports whatever two places both hold. `values` gives what one agent holds, with its place. */
function reportShared(
  agents: readonly AgentFile[],
  message: string,
  values: (entry: AgentEntry) => readonly { readonly path: ConfigPath; readonly value: string }[],
): void {
  const holders = new Map<string, AgentEntry>()
  for (const { entry, report } of agents) {
    for (const { path, value } of values(entry)) {
      const holder = holders.get(value)
      if (holder === undefined) holders.set(value, entry)
      else report(path, `${message} (client_id ${holder.clientId})`)
    }
  }
}

function namesAreDistinct(agents: readonly AgentFile[]): void {
  reportShared(agents, 'choose another: it is taken', ({ clientId }) => [
    { path: ['client_id'], value: clientId },
  ])
  reportShared(agents, 'name each agent once: this one has a file', ({ agent }) => [
    { path: ['agent'], value: agent },
  ])
}

function credentialsAreDistinct(agents: readonly AgentFile[]): void {
  reportShared(agents, 'give every agent a credential of its own: another has this one', ({ credentials }) =>
    credentials.flatMap((credential, index) =>
      identitiesOf(credential).map((value) => ({ path: ['credentials', index], value })),
    ),
  )
  for (const { entry, report } of agents) {
    const kids = entry.credentials.flatMap((each) => (each.method === 'private_key_jwt' ? each.jwks : []))
    if (new Set(kids.map(({ kid }) => kid)).size < kids.length) {
      report(['credentials'], 'give every key of the agent a kid of its own')
    }
  }
}

/** What proves the credential, in one text each: a key by its public members, everything else by its name. */
function identitiesOf(credential: AgentCredential): string[] {
  switch (credential.method) {
    case 'private_key_jwt':
      return credential.jwks.map(({ kty, crv, x, y, n, e }) => JSON.stringify([kty, crv, x, y, n, e]))
    case 'tls_client_auth':
      return [`san ${credential.san}`]
    case 'self_signed_tls_client_auth':
      return [`certificate ${credential.thumbprint}`]
    case 'workload_jwt':
      return [`workload ${workloadKey(credential.issuer, credential.subject)}`]
  }
}

function delegatesExist(agents: readonly AgentFile[]): void {
  const known = agents.map(({ entry }) => entry.agent)
  for (const { entry, report } of agents) {
    for (const [index, agent] of entry.delegatesTo.entries()) {
      if (known.includes(agent)) continue
      report(['delegates_to', index], `name an agent that has a file${hint(agent, known)}`)
    }
  }
}

function workloadIssuersAreKnown(agents: readonly AgentFile[], { workloadIssuers }: AgentRules): void {
  for (const { entry, report } of agents) {
    for (const [index, credential] of entry.credentials.entries()) {
      if (credential.method !== 'workload_jwt' || workloadIssuers.includes(credential.issuer)) continue
      const message = 'name the issuer of an identity provider with subjects: agents'
      report(['credentials', index, 'issuer'], message + hint(credential.issuer, workloadIssuers))
    }
  }
}

function hint(name: string, known: readonly string[]): string {
  const near = nearest(name, known)
  return near === undefined ? '' : `; did you mean ${near}?`
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

function workloadKey(issuer: string, subject: string): string {
  return JSON.stringify([issuer, subject])
}
