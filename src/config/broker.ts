// In: the parsed broker, control and tls sections. Out: the same as the program reads them, paths resolved.
// Never: opens a file.
import { resolve } from 'node:path'
import type { IdentityProvider } from '../broker/parties.ts'
import type { Config, IssuerConfig, TlsFiles } from '../config.ts'
import type { ParsedConfig } from './schema.ts'

type ParsedProvider = ParsedConfig['broker']['identity_providers'][number]

/** The broker's part of the configuration; `profile`: how its own tokens are read. */
export function buildBroker(
  file: ParsedConfig['broker'],
  profile: IssuerConfig,
  dir: string,
): Config['broker'] {
  return {
    issuer: profile.issuer,
    profile,
    keyFile: resolve(dir, file.key_file),
    rotateKeysMs: file.rotate_keys,
    ttlSeconds: file.ttl,
    agents: file.agents === undefined ? undefined : resolve(dir, file.agents),
    identityProviders: file.identity_providers.map((provider) => buildProvider(provider, dir)),
    statusLists: file.status_lists,
  }
}

function buildProvider(file: ParsedProvider, dir: string): IdentityProvider {
  const { url, file: jwksFile } = file.jwks ?? {}
  const keys =
    url !== undefined
      ? { url }
      : jwksFile !== undefined
        ? { file: resolve(dir, jwksFile) }
        : ({ discovery: true } as const)
  return {
    issuer: file.issuer,
    audience: file.audience,
    keys,
    algorithms: file.algorithms,
    accept: file.accept,
    subjects: file.subjects,
    userClaim: file.user,
    maxAgeSeconds: file.max_age,
    clockTolerance: file.clock_tolerance,
  }
}

/** Issuers whose tokens a `workload_jwt` of an agent may be. */
export function workloadIssuers({ broker }: Pick<Config, 'broker'>): string[] {
  return broker.identityProviders.filter(({ subjects }) => subjects === 'agents').map(({ issuer }) => issuer)
}

export function buildControl(file: ParsedConfig['control'], dir: string): Config['control'] {
  return {
    tokenFile: resolve(dir, file.token_file),
    operators: file.operators.map(({ name, token_file, tenant, roles, groups }) => ({
      name,
      tokenFile: resolve(dir, token_file),
      tenant,
      roles,
      groups,
    })),
  }
}

export function buildTls(file: ParsedConfig['tls']['proxy'], dir: string): TlsFiles | undefined {
  if (file === undefined) return undefined
  const clientCa = file.client_ca === undefined ? undefined : resolve(dir, file.client_ca)
  return { cert: resolve(dir, file.cert), key: resolve(dir, file.key), clientCa }
}
