// In: the path of a configuration file and the environment. Out: one frozen `Config`.
// Throws `ConfigError` with every problem at once. Never: listens, writes, or keeps going with half a file.
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, resolve } from 'node:path'
import type { Config, IssuerConfig } from '../config.ts'
import { buildApprovals } from './approvals.ts'
import { buildBackend } from './backends.ts'
import { buildBroker, buildControl, buildTls } from './broker.ts'
import { buildBundle } from './bundle.ts'
import { parseSource } from './document.ts'
import { listenerUrl } from './listeners.ts'
import { ConfigError, type ConfigPath, type ConfigProblem, writePath } from './problems.ts'
import { buildRedis } from './redis.ts'
import { errorCode, resolveReferences } from './references.ts'
import { checkRelations } from './relations.ts'
import { configSchema, issuerSchema, maxWorkers, type ParsedConfig, type ParsedIssuer } from './schema.ts'
import { isMapping } from './select.ts'

/** What the caller is going to do with the configuration. */
interface LoadOptions {
  /**
   * `unused`: forwards, serves and tells nothing, so no credential need be there; `lease` and `revoke` are such.
   * `policy`: that of a policy bundle has to be; a broker without a gate is such.
   */
  readonly credentials: 'unused' | 'needed' | 'policy'
  /** `absent`: the policy directory need not be there yet; `policy init` makes it. */
  readonly policyDir?: 'absent'
}

/**
 * Reads, resolves, checks. Relative paths in the file start at its directory. The result is frozen; the
 * values that hold credentials (`credential.value`, `url` and passwords of Redis, the `url` of a bundle) print as
 * `[redacted]`.
 */
export function loadConfig(
  path: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
  { credentials, policyDir }: LoadOptions = { credentials: 'needed' },
): Config {
  const dir = dirname(resolve(path))
  const source = parseSource(readText(path))
  const problems: ConfigProblem[] = source.faults.map((fault) => ({ file: path, path: '', ...fault }))
  if (problems.length > 0) throw new ConfigError(problems)

  const report = (at: ConfigPath, message: string) => {
    problems.push({ file: path, ...source.locate(at), path: writePath(at), message })
  }
  const reportReference = (at: ConfigPath, message: string) => {
    const spared = { needed: [], unused: ['backends', 'policy'], policy: ['backends'] }[credentials]
    const spare = at[2] === 'credential' && spared.some((section) => section === at[0])
    const signsIn = credentials !== 'unused' || writePath(at) !== 'console.sign_in.client_secret'
    if (!spare && signsIn) report(at, message)
  }
  const read = credentials === 'unused' ? withoutNotices(source.value) : source.value
  const value = resolveReferences(read, { dir, env, report: reportReference })
  const parsed = configSchema.safeParse(value)
  for (const issue of parsed.error?.issues ?? []) reportIssue(issue, report)
  const reportRelation = (at: ConfigPath, message: string) => {
    const spare = credentials === 'unused' && at[0] === 'tls'
    if (!spare && (policyDir !== 'absent' || writePath(at) !== 'policy.dir')) report(at, message)
  }
  checkRelations(value, { dir, report: reportRelation, lineOf: (at) => source.locate(at).line })
  if (problems.length > 0 || !parsed.success) throw new ConfigError(problems)
  return deepFreeze(build(parsed.data, dir))
}

/** The places of `notify` are secrets as a whole: nothing of them can be checked without. */
function withoutNotices(root: unknown): unknown {
  if (!isMapping(root)) return root
  const { notify: _, ...rest } = root
  return rest
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const message = `name a configuration file that can be read: ${errorCode(error)}`
    throw new ConfigError([{ file: path, line: 1, column: 1, path: '', message }])
  }
}

/** Unknown keys come as one issue with a line of message per key: each gets a place of its own. */
export function reportIssue(issue: ParseIssue, report: (path: ConfigPath, message: string) => void): void {
  const path = issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key))
  if (issue.code !== 'unrecognized_keys') {
    report(path, issue.message)
    return
  }
  const messages = issue.message.split('\n')
  for (const [index, key] of issue.keys.entries()) report([...path, key], messages[index]!)
}

type ParseIssue = NonNullable<ReturnType<typeof configSchema.safeParse>['error']>['issues'][number]

function build(file: ParsedConfig, dir: string): Config {
  const controlUrl = listenerUrl(file.listen.control, file.tls.control !== undefined)
  const issuer = file.broker.issuer ?? controlUrl
  const issuers = file.issuers ?? [issuerSchema.parse({ issuer, jwks: { local: true } })]
  return {
    dir,
    listen: file.listen,
    publicOrigin: file.public_origin,
    workers: file.workers === 'auto' ? Math.min(availableParallelism(), maxWorkers) : file.workers,
    state: buildState(file.state, dir),
    issuers: issuers.map((entry) => buildIssuer(entry, file.public_origin, dir)),
    tls: { proxy: buildTls(file.tls.proxy, dir), control: buildTls(file.tls.control, dir) },
    broker: buildBroker(file.broker, ownProfile(file, issuer, dir), dir),
    control: buildControl(file.control, dir),
    ...buildApprovals(file, controlUrl, dir),
    proofs: file.proofs,
    blastRadius: {
      detectionSeconds: file.blast_radius.detection,
      assumedRate: file.blast_radius.assumed_rate,
    },
    policy: buildPolicy(file.policy, dir),
    audit: buildAudit(file.audit, dir),
    log: file.log,
    limits: buildLimits(file.limits),
    rates: file.rates,
    via: file.via,
    backends: Object.entries(file.backends).map(([name, entry]) => buildBackend(name, entry, file.limits)),
  }
}

function buildAudit(
  { file, reads_on_fault, policy_input }: ParsedConfig['audit'],
  dir: string,
): Config['audit'] {
  const { record, redact, max_size } = policy_input
  return {
    file: resolve(dir, file),
    readsOnFault: reads_on_fault,
    policyInput: { record, redact, maxBytes: max_size },
  }
}

function buildPolicy({ shadow, bundle, ...policy }: ParsedConfig['policy'], dir: string): Config['policy'] {
  const needsActivation = policy.reload === 'on_activate' && policy.dir === undefined
  return {
    dir: resolve(dir, policy.dir ?? './policies'),
    ...(needsActivation ? { needsActivation } : {}),
    reload: policy.reload,
    ...(shadow === undefined ? {} : { shadow: { dir: resolve(dir, shadow.dir) } }),
    ...(bundle === undefined ? {} : { bundle: buildBundle(bundle, dir) }),
  }
}

function buildState(state: ParsedConfig['state'], dir: string): Config['state'] {
  const own = state.redis ?? state
  const bounds = { maxStalenessMs: own.max_staleness ?? 2000, strict: own.strict ?? false }
  if (state.store === 'embedded') {
    return { store: 'embedded', path: resolve(dir, state.path ?? './data/leasegate.db'), ...bounds }
  }
  const { url, prefix } = state
  return { store: 'redis', redis: buildRedis(state.redis ?? { url, prefix }, dir), ...bounds }
}

function buildIssuer(entry: ParsedIssuer, publicOrigin: string, dir: string): IssuerConfig {
  const { url, file } = entry.jwks
  return {
    issuer: entry.issuer,
    audience: entry.audience ?? publicOrigin,
    jwks: url !== undefined ? { url } : file !== undefined ? { file: resolve(dir, file) } : { local: true },
    algorithms: entry.algorithms,
    clockTolerance: entry.clock_tolerance,
    maxTokenSeconds: entry.max_token_lifetime,
    allowAnyAction: entry.allow_any_action,
    workflows: entry.workflows,
    maxActDepth: entry.max_act_depth,
    statusLists: entry.status_lists,
    statusFromStore: url === undefined && file === undefined,
    claims: entry.claims,
  }
}

/** How the broker's own tokens are read, also where no gate here takes them. */
function ownProfile(file: ParsedConfig, issuer: string, dir: string): IssuerConfig {
  const listed = file.issuers?.find(({ jwks }) => jwks.local === true)
  return buildIssuer(listed ?? issuerSchema.parse({ issuer, jwks: { local: true } }), file.public_origin, dir)
}

function buildLimits(limits: ParsedConfig['limits']): Config['limits'] {
  return {
    headerBytes: limits.header_size,
    headerFields: limits.header_fields,
    targetBytes: limits.target_size,
    headersTimeoutMs: limits.headers_timeout,
    requestTimeoutMs: limits.request_timeout,
    bodyIdleMs: limits.body_idle,
    bodyBytes: limits.body,
    inspectedBodyBytes: limits.inspected_body,
    gatherMs: limits.gather,
    drainMs: limits.drain,
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const key of Reflect.ownKeys(value)) deepFreeze((value as Record<PropertyKey, unknown>)[key])
  return Object.freeze(value)
}
