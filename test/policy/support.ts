// Real policies for the tests: directories on disk, modules from the real compiler, inputs of design §7.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { PolicyInput } from '../../src/policy/input_schema.ts'
import { sampleInput } from '../../src/policy/sample.ts'
import { runToolchain } from '../../src/policy/toolchain.ts'

/** The policy that ships. */
export const shippedDir = join(import.meta.dirname, '../../policies')

/** Bundles as `opa build -t wasm -e leasegate/authz/decision` of OPA 1.20.2 writes them. */
export function bundle(name: 'portable' | 'needs_host'): Buffer {
  return readFileSync(join(import.meta.dirname, 'bundles', `${name}.tar.gz`))
}

/** A policy directory that goes away by itself. */
export class PolicyDir implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'leasegate-policy-'))

  static of(files: Readonly<Record<string, string | Uint8Array>>): PolicyDir {
    const dir = new PolicyDir()
    for (const [path, content] of Object.entries(files)) dir.write(path, content)
    return dir
  }

  static shipped(): PolicyDir {
    const dir = new PolicyDir()
    cpSync(shippedDir, dir.path, { recursive: true })
    return dir
  }

  write(path: string, content: string | Uint8Array): void {
    mkdirSync(dirname(join(this.path, path)), { recursive: true })
    writeFileSync(join(this.path, path), content)
  }

  read(path: string): string {
    return readFileSync(join(this.path, path), 'utf8')
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** Compiles Rego for `package leasegate.authz`, given without its package line. */
export async function compiled(rules: string): Promise<Uint8Array> {
  const files = { 'authz.rego': `package leasegate.authz\n\n${rules}\n` }
  const { wasm, diagnostics } = await runToolchain({ files, data: {} }, ['build'])
  if (wasm === undefined) throw new Error(JSON.stringify(diagnostics))
  return wasm
}

/** Alice's agent reads customer 9821 under a lease for exactly that: allowed by the policy that ships. */
export const reading = sampleInput

/** The same agent deletes customer 9821 under a lease that covers it: a human has to approve. */
export const deleting = {
  ...reading,
  lease: {
    ...reading.lease,
    stage: 'execute',
    granted: [{ actions: ['delete'], resource: 'crm:customer/*', sensitivity: 'restricted' }],
  },
  request: {
    ...reading.request,
    operation: 'DELETE /customers/{id}',
    verb: 'delete',
    sensitivity: 'restricted',
    risk: 'high',
    method: 'DELETE',
  },
} as const satisfies PolicyInput
