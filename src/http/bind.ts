// Binds a listener and says where it ended up.
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Listen } from '../config.ts'

/** Resolves with the address once `server` accepts connections; rejects with a message that names it. */
export function bind(server: Server, name: string, { host, port }: Listen): Promise<Listen> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'EADDRINUSE' ? 'another process listens there' : (error.code ?? error.message)
      reject(new Error(`listen.${name} ${host}:${port}: ${why}`))
    }
    server.once('error', failed)
    server.listen(port, host, () => {
      server.off('error', failed)
      resolve({ host, port: (server.address() as AddressInfo).port })
    })
  })
}
