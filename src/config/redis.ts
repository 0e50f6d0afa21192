// The `state.redis` section: what it accepts, what has to fit together in it, and what becomes of it. In: values of
// the file. Out: a `RedisConfig`. Never: a password in a problem, or in what prints.
import { resolve } from 'node:path'
import { count, duration, filePath, flag, list, section, text } from './fields.ts'
import { hideSecrets } from './references.ts'
import { type Outcome, parseListen, parsePlain, parseRedisUrl } from './scalars.ts'
import { at, isMapping, type Relation, type RelationScope, select, textAt } from './select.ts'
import { reportMisfits } from './tls.ts'

/** One node of a Sentinel set or of a Cluster. */
export interface RedisNode {
  readonly host: string
  readonly port: number
}

/** Paths of PEM files, and the name that the server's certificate has to carry. */
export interface RedisTlsFiles {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly serverName?: string
}

/** Where Redis is and what is asked of it. Exactly one of `url`, `sentinel` and `cluster` is there. */
export interface RedisConfig {
  readonly url?: string
  readonly sentinel?: {
    readonly name: string
    readonly nodes: readonly RedisNode[]
    readonly username?: string
    readonly password?: string
    readonly tls?: RedisTlsFiles
  }
  readonly cluster?: { readonly nodes: readonly RedisNode[] }
  readonly username?: string
  readonly password?: string
  readonly tls?: RedisTlsFiles
  readonly prefix: string
  readonly acknowledge: { readonly replicas: number; readonly disk: boolean; readonly timeoutMs: number }
}

/** `host:port` of a server that is dialled. */
function parseNode(value: string): Outcome<RedisNode> {
  const outcome = parseListen(value)
  return 'value' in outcome && outcome.value.port > 0
    ? outcome
    : { fault: 'write host:port, such as 10.0.0.1:6379 or "[::1]:6379"' }
}

const nodes = (port: number) =>
  list(text(parseNode, `10.0.0.1:${port}`)).min(1, 'name at least one node; three survive the loss of one')
const user = parsePlain(/^[!-~]{1,255}$/, 'write printable characters without spaces')
const secret = parsePlain(/^.{1,1024}$/su, 'write 1 to 1024 characters')
const hostName = parsePlain(/^[A-Za-z0-9.-]{1,253}$/, 'write a host name, as in the certificate')
const word = parsePlain(/^[A-Za-z0-9._-]{1,255}$/, 'write the name that the sentinels monitor the primary by')

/** `state.redis.prefix`, and its short form. */
export const redisPrefix = parsePlain(/^[A-Za-z0-9:._-]{1,64}$/, 'write letters, digits and : . _ - only')

const tls = () =>
  section({
    ca: filePath().optional(),
    cert: filePath().optional(),
    key: filePath().optional(),
    server_name: text(hostName, 'redis.example').optional(),
  }).optional()

const access = () => ({
  username: text(user, 'leasegate').optional(),
  password: text(secret, `"\${env:REDIS_PASSWORD}"`).optional(),
  tls: tls(),
})

/** The fields of the section but `max_staleness` and `strict`, which `state` has too. */
export const redisFields = {
  url: text(parseRedisUrl, 'redis://127.0.0.1:6379').optional(),
  sentinel: section({
    name: text(word, 'leasegate'),
    nodes: nodes(26379),
    ...access(),
  }).optional(),
  cluster: section({ nodes: nodes(6379) }).optional(),
  ...access(),
  prefix: text(redisPrefix, '"leasegate:"').optional(),
  acknowledge: section({
    replicas: count(0, 100).prefault(0),
    disk: flag().prefault(false),
    timeout: duration('10ms', '60s').prefault('1s'),
  }).prefault({}),
}

/** What has to fit together. */
export const redisRelations: readonly Relation[] = [
  placeIsSingle,
  passwordsFit,
  tlsFits,
  acknowledgementMeansSomething,
]

const base = ['state', 'redis']

function placeIsSingle(root: unknown, scope: RelationScope): void {
  const redis = at(root, base)
  if (!isMapping(redis)) return
  const places = ['url', 'sentinel', 'cluster'].filter((key) => redis[key] !== undefined)
  if (places.length !== 1) scope.report(base, 'write exactly one of url, sentinel and cluster')
}

function passwordsFit(root: unknown, scope: RelationScope): void {
  for (const path of [base, [...base, 'sentinel']]) {
    const has = (key: string) => at(root, [...path, key]) !== undefined
    if (has('username') && !has('password')) scope.report([...path, 'username'], 'add password beside it')
  }
  const url = URL.parse(textAt(root, [...base, 'url']) ?? '')
  for (const key of ['username', 'password'] as const) {
    const twice = url !== null && url[key] !== '' && at(root, [...base, key]) !== undefined
    if (twice) scope.report([...base, key], 'write it once, in the url or here')
  }
}

function acknowledgementMeansSomething(root: unknown, scope: RelationScope): void {
  const path = [...base, 'acknowledge']
  const section = at(root, path)
  if (!isMapping(section) || section.replicas !== undefined || section.disk !== undefined) return
  scope.report(path, 'add replicas: 1, disk: true or both: without them nothing is waited for')
}

function tlsFits(root: unknown, scope: RelationScope): void {
  for (const path of [
    [...base, 'tls'],
    [...base, 'sentinel', 'tls'],
  ]) {
    const files = { cert: 'cert', key: 'key', authorities: 'ca' }
    for (const { value } of select(root, path)) if (isMapping(value)) reportMisfits(root, path, files, scope)
    const has = (key: string) => at(root, [...path, key]) !== undefined
    if (has('cert') !== has('key')) scope.report(path, 'write cert and key, or neither')
  }
  const plain = textAt(root, [...base, 'url'])?.startsWith('redis://') === true
  if (plain && at(root, [...base, 'tls']) !== undefined) {
    scope.report([...base, 'url'], 'write rediss://…: tls is set')
  }
}

interface ParsedTls {
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly server_name?: string | undefined
}

interface ParsedAccess {
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly tls?: ParsedTls | undefined
}

/** The section, parsed. */
export interface ParsedRedis extends ParsedAccess {
  readonly url?: string | undefined
  readonly sentinel?:
    | (ParsedAccess & { readonly name: string; readonly nodes: readonly RedisNode[] })
    | undefined
  readonly cluster?: { readonly nodes: readonly RedisNode[] } | undefined
  readonly prefix?: string | undefined
  readonly acknowledge?: { readonly replicas: number; readonly disk: boolean; readonly timeout: number }
}

/** What a fail-over could undo the way the section is; undefined: nothing, or nobody would take over. */
export function failOverRisk({ sentinel, cluster, acknowledge }: RedisConfig): string | undefined {
  if ((sentinel === undefined && cluster === undefined) || acknowledge.replicas > 0) return undefined
  return 'state.redis.acknowledge: write { replicas: 1 }, or a fail-over can let revoked leases and used approvals live again'
}

/** What becomes of the section; `dir` is where paths start. What holds a password prints as `[redacted]`. */
export function buildRedis(redis: ParsedRedis, dir: string): RedisConfig {
  const { url, sentinel, cluster, prefix, acknowledge } = redis
  const { replicas, disk, timeout } = acknowledge ?? { replicas: 0, disk: false, timeout: 1000 }
  return hideSecrets(
    {
      ...(url === undefined ? {} : { url }),
      ...(sentinel === undefined ? {} : { sentinel: buildSentinel(sentinel, dir) }),
      ...(cluster === undefined ? {} : { cluster }),
      ...buildAccess(redis, dir),
      prefix: prefix ?? 'leasegate:',
      acknowledge: { replicas, disk, timeoutMs: timeout },
    },
    ['url', 'password'],
  )
}

function buildSentinel(sentinel: NonNullable<ParsedRedis['sentinel']>, dir: string) {
  const { name, nodes: known } = sentinel
  return hideSecrets({ name, nodes: known, ...buildAccess(sentinel, dir) }, ['password'])
}

function buildAccess({ username, password, tls: files }: ParsedAccess, dir: string) {
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(files === undefined ? {} : { tls: buildFiles(files, dir) }),
  }
}

function buildFiles({ ca, cert, key, server_name }: ParsedTls, dir: string): RedisTlsFiles {
  return {
    ...(ca === undefined ? {} : { ca: resolve(dir, ca) }),
    ...(cert === undefined ? {} : { cert: resolve(dir, cert) }),
    ...(key === undefined ? {} : { key: resolve(dir, key) }),
    ...(server_name === undefined ? {} : { serverName: server_name }),
  }
}
