// THE schema of the configuration file: every key, what it accepts, its default as one would write it.
// In: plain values with references resolved. Out: parsed values, still under the names of the file.
// Never: what needs two fields at once; that is relations.ts.
import { z } from 'zod'
import { risks, sensitivities } from '../lease/lease.ts'
import { approvalsSchema, consoleSchema, noticeSchema } from './approvals.ts'
import { count, duration, filePath, flag, list, oneOf, seconds, section, size, text } from './fields.ts'
import { parseCredentialHeader, parseForwardHeader } from './headers.ts'
import { parseAmountSource, parseCallRate, parseMatch, parseResource } from './operations.ts'
import { parseInputPath } from './policy_input.ts'
import { redisFields, redisPrefix } from './redis.ts'
import {
  parseAuthority,
  parseBackendUrl,
  parseKeyUrl,
  parseListen,
  parseOrigin,
  parsePathPrefix,
  parsePlain,
  parseRedisUrl,
} from './scalars.ts'

/** Asymmetric only: with a shared key or `none`, whoever verifies could also sign (RFC 8725 §3.2). */
export const algorithms = [
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
] as const

/** Of those, what OPA signs bundles with. */
const bundleAlgorithms = algorithms.filter((name) => !name.startsWith('Ed'))

const word = parsePlain(/^[a-z][a-z0-9_-]{0,62}$/, 'write a lower-case word: letters, digits, - and _')
const token = parsePlain(/^[!-~]{1,255}$/, 'write printable characters without spaces')
const claimPath = parsePlain(/^[^.\s]+(\.[^.\s]+)*$/, 'write a dotted path into the claims, such as act.sub')
const pseudonym = parsePlain(/^[A-Za-z0-9._-]{1,64}$/, 'write a token of letters, digits, dots, - and _')
const fieldValue = parsePlain(
  /^[!-~]([ -~]*[!-~])?$/,
  'write printable ASCII on one line, without spaces around',
)
const bundleScope = parsePlain(/^[ -~]{0,255}$/, 'write printable ASCII on one line')
const queryName = parsePlain(
  /^(?!access_token$|_method$)[A-Za-z0-9._~-]{1,64}$/,
  'write the name of a query parameter; access_token and _method are always refused',
)

const callRate = () => text(parseCallRate, '"600/1m"')

const operation = section({
  match: text(parseMatch, '"GET /customers/{id}"'),
  verb: text(word, 'read'),
  resource: text(parseResource, '"customer/{id}"'),
  sensitivity: oneOf(sensitivities),
  risk: oneOf(risks).optional(),
  body: oneOf(['stream', 'json', 'opaque']).prefault('stream'),
  body_limit: size('0B', '64GiB').optional(),
  allow_encoded_slash: flag().prefault(false),
  opaque_query: list(text(queryName, 'cursor')).prefault([]),
  amount: text(parseAmountSource, 'body.total').optional(),
  rate: callRate().optional(),
  before: text(parseMatch, '"GET /customers/{id}"').optional(),
})

const backend = section({
  url: text(parseBackendUrl, 'http://127.0.0.1:3000'),
  path_prefix: text(parsePathPrefix, '/crm').optional(),
  hosts: list(text(parseAuthority, 'crm.gate.example')).prefault([]),
  credential: section({
    header: text(parseCredentialHeader, 'authorization'),
    value: text(fieldValue, `"Bearer \${env:TOKEN}"`),
  }).optional(),
  timeouts: section({
    connect: duration('1ms', '1m').prefault('2s'),
    headers: duration('1ms', '1h').prefault('30s'),
    idle: duration('1ms', '24h').prefault('60s'),
  }).prefault({}),
  connections: count(1, 65_536).prefault(64),
  max_in_flight: count(1, 1_000_000).prefault(512),
  upgrade: flag().prefault(false),
  env: text(token, 'prod').optional(),
  require_binding: oneOf(['never', 'high', 'writes', 'always']).prefault('high'),
  forward_headers: list(text(parseForwardHeader, 'x-request-id')).prefault([]),
  operations: list(operation).min(1, 'map at least one operation: what none matches is refused'),
})

/** One accepted issuer. */
export const issuerSchema = section({
  issuer: text(token, 'https://broker.example'),
  audience: text(token, 'https://gate.example').optional(),
  jwks: section({
    url: text(parseKeyUrl, 'https://broker.example/jwks').optional(),
    file: filePath().optional(),
    local: z.literal(true, { error: 'write true, or leave it out' }).optional(),
  }),
  algorithms: list(oneOf(algorithms)).min(1, 'name at least one algorithm').prefault(['ES256']),
  clock_tolerance: seconds('0s', '30s').prefault('5s'),
  max_token_lifetime: seconds('1s', '24h').prefault('300s'),
  allow_any_action: flag().prefault(false),
  workflows: list(text(token, '"workflow:"')).prefault([]),
  max_act_depth: count(1, 8).prefault(3),
  status_lists: list(text(parseKeyUrl, 'https://broker.example/status/')).prefault([]),
  claims: section({
    user: text(claimPath, 'sub').prefault('sub'),
    agent: text(claimPath, 'act.sub').prefault('act.sub'),
    lease: text(claimPath, 'lease').prefault('lease'),
    details: text(claimPath, 'authorization_details').prefault('authorization_details'),
  }).prefault({}),
})

/** What an operator token is good for. */
export const operatorRoles = ['approver', 'operator', 'auditor', 'admin'] as const

/** What tokens of an identity provider are taken for. */
export const identityUses = ['id_token', 'access_token', 'jwt', 'id_jag', 'logout', 'events'] as const

/** One identity provider that speaks for people or workflows. */
export const identityProviderSchema = section({
  issuer: text(token, 'https://login.example'),
  audience: text(token, 'leasegate'),
  jwks: section({
    url: text(parseKeyUrl, 'https://login.example/jwks').optional(),
    file: filePath().optional(),
  }).optional(),
  algorithms: list(oneOf(algorithms)).min(1, 'name at least one algorithm').prefault(['ES256', 'RS256']),
  accept: list(oneOf(identityUses))
    .min(1, 'name at least one kind of token')
    .prefault(['id_token', 'logout']),
  subjects: oneOf(['users', 'workflows', 'agents']).prefault('users'),
  user: text(claimPath, 'email').prefault('sub'),
  max_age: seconds('1s', '24h').prefault('1h'),
  clock_tolerance: seconds('0s', '30s').prefault('5s'),
})

/** No machine that a gate would have to itself has more cores. */
export const maxWorkers = 256

const workers = z.custom<number | 'auto'>(
  (value) =>
    value === 'auto' || (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= maxWorkers),
  { error: `write a whole number from 1 to ${maxWorkers}, or auto` },
)

const staleness = () => duration('100ms', '60s')

const state = section({
  store: oneOf(['embedded', 'redis']).prefault('embedded'),
  path: filePath().optional(),
  max_staleness: staleness().optional(),
  strict: flag().optional(),
  url: text(parseRedisUrl, 'redis://127.0.0.1:6379').optional(),
  prefix: text(redisPrefix, '"leasegate:"').optional(),
  redis: section({
    ...redisFields,
    max_staleness: staleness().optional(),
    strict: flag().optional(),
  }).optional(),
})

const bundle = section({
  url: text(parseKeyUrl, 'https://bundles.example/leasegate.tar.gz').optional(),
  file: filePath().optional(),
  poll: duration('1s', '24h').prefault('60s'),
  verification: section({
    keys: list(
      section({ id: text(token, '"2026-11"'), algorithm: oneOf(bundleAlgorithms), file: filePath() }),
    ).min(1, 'name at least one key: an unsigned bundle is always refused'),
    scope: text(bundleScope, 'write').prefault(''),
  }),
  credential: section({
    header: text(parseCredentialHeader, 'authorization'),
    value: text(fieldValue, `"Bearer \${env:TOKEN}"`),
  }).optional(),
  cache: filePath().prefault('./data/bundle.tar.gz'),
})

const limits = section({
  header_size: size('1KiB', '256KiB').prefault('16KiB'),
  header_fields: count(1, 2000).prefault(100),
  target_size: size('64B', '64KiB').prefault('8KiB'),
  headers_timeout: duration('100ms', '10m').prefault('10s'),
  request_timeout: duration('100ms', '24h').prefault('5m'),
  body_idle: duration('100ms', '1h').prefault('30s'),
  body: size('0B', '64GiB').prefault('100MiB'),
  inspected_body: size('0B', '64MiB').prefault('256KiB'),
  gather: duration('1ms', '1m').prefault('500ms'),
  drain: duration('0s', '10m').prefault('20s'),
})

const tls = () => section({ cert: filePath(), key: filePath(), client_ca: filePath().optional() }).optional()

/** The whole file. */
export const configSchema = section({
  listen: section({
    proxy: text(parseListen, '127.0.0.1:8080').prefault('127.0.0.1:8080'),
    control: text(parseListen, '127.0.0.1:8081').prefault('127.0.0.1:8081'),
    metrics: text(parseListen, '127.0.0.1:9464').prefault('127.0.0.1:9464'),
  }).prefault({}),
  tls: section({ proxy: tls(), control: tls() }).prefault({}),
  public_origin: text(parseOrigin, 'https://gate.example'),
  workers: workers.prefault(1),
  state: state.prefault({}),
  issuers: list(issuerSchema)
    .min(1, 'name at least one issuer, or leave issuers out for the local broker')
    .optional(),
  broker: section({
    issuer: text(token, 'http://127.0.0.1:8081').optional(),
    key_file: filePath().prefault('./data/broker.key'),
    rotate_keys: duration('1h', '8760h').prefault('720h'),
    ttl: seconds('1s', '1h').prefault('300s'),
    agents: filePath().optional(),
    identity_providers: list(identityProviderSchema).prefault([]),
    status_lists: flag().prefault(false),
  }).prefault({}),
  control: section({
    token_file: filePath().prefault('./data/control.token'),
    operators: list(
      section({
        name: text(token, 'acme-ops'),
        token_file: filePath(),
        tenant: text(token, 'acme').optional(),
        roles: list(oneOf(operatorRoles)).min(1, 'name at least one role').prefault(['operator', 'auditor']),
        groups: list(text(token, 'crm-owners')).prefault([]),
      }),
    ).prefault([]),
  }).prefault({}),
  approvals: approvalsSchema.prefault({}),
  console: consoleSchema.prefault({}),
  notify: list(noticeSchema).prefault([]),
  proofs: section({ nonce: oneOf(['required', 'optional']).prefault('required') }).prefault({}),
  policy: section({
    dir: filePath().optional(),
    reload: oneOf(['on_change', 'on_activate', 'never']).prefault('on_change'),
    bundle: bundle.optional(),
    shadow: section({ dir: filePath() }).optional(),
  }).prefault({}),
  blast_radius: section({
    detection: seconds('1s', '24h').prefault('15m'),
    assumed_rate: callRate().prefault('600/1m'),
  }).prefault({}),
  audit: section({
    file: filePath().prefault('./data/audit.jsonl'),
    reads_on_fault: oneOf(['refuse', 'allow']).prefault('refuse'),
    policy_input: section({
      record: flag().prefault(true),
      redact: list(text(parseInputPath, 'request.body')).prefault(['request.body', 'request.query']),
      max_size: size('1KiB', '1MiB').prefault('16KiB'),
    }).prefault({}),
  }).prefault({}),
  log: section({
    level: oneOf(['debug', 'info', 'warn', 'error']).prefault('info'),
    requests: oneOf(['auto', 'line', 'none']).prefault('auto'),
  }).prefault({}),
  limits: limits.prefault({}),
  rates: section({
    lease: callRate().optional(),
    agent: callRate().optional(),
    user: callRate().optional(),
  }).prefault({}),
  via: text(pseudonym, 'leasegate').prefault('leasegate'),
  backends: z.record(z.string(), backend, {
    error: (issue) =>
      issue.input === undefined ? 'add this key: it has no default' : 'write a mapping of backends',
  }),
})

/** What the schema gives: parsed values under the names of the file. */
export type ParsedConfig = z.output<typeof configSchema>

/** One issuer, parsed. */
export type ParsedIssuer = z.output<typeof issuerSchema>
