// In: agents as their files describe them. Out: the problems that only show between two of them, or between
// one and the configuration: a name or a credential that two share, since whoever has it would be both; an
// agent or an issuer that is not there. Never: changes a value.
import type { AgentCredential, AgentEntry } from '../broker/parties.ts'
import { type ConfigPath, nearest } from './problems.ts'

/** What agents' files are held against. */
export interface AgentRules {
  /** Issuers of the identity providers with `subjects: agents`. */
  readonly workloadIssuers: readonly string[]
}

/** Reports a problem at a path of one file. */
export type Report = (path: ConfigPath, message: string) => void

/** One agent, and how to report a problem of its file. */
export interface AgentFile {
  readonly entry: AgentEntry
  readonly report: Report
}

/** Runs every relation. */
export function checkAgentRelations(agents: readonly AgentFile[], rules: AgentRules): void {
  namesAreDistinct(agents)
  credentialsAreDistinct(agents)
  delegatesExist(agents)
  workloadIssuersAreKnown(agents, rules)
}

/** One text for a workload of an issuer. */
export function workloadKey(issuer: string, subject: string): string {
  return JSON.stringify([issuer, subject])
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
  const known = new Set(agents.map(({ entry }) => entry.agent))
  for (const { entry, report } of agents) {
    for (const [index, agent] of entry.delegatesTo.entries()) {
      if (known.has(agent)) continue
      report(['delegates_to', index], `name an agent that has a file${hint(agent, [...known])}`)
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
