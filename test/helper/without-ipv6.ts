// Loaded into processes that are to find no IPv6: binding answers as on a kernel without it.
import { constants } from 'node:os'
import './baseline.ts'

const { TCP } = (
  process as unknown as { binding(name: string): { TCP: { prototype: { bind6(): number } } } }
).binding('tcp_wrap')
TCP.prototype.bind6 = () => -constants.errno.EAFNOSUPPORT
