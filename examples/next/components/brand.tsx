export function Brand() {
  return (
    <span className="brand">
      <svg viewBox="0 0 32 32" aria-hidden="true">
        <path d="M16 1.5 28 6v9c0 7.5-5 13-12 15.5C9 28 4 22.5 4 15V6Z" />
        <path className="tick" d="m10.5 15.5 4 4 7-8" />
      </svg>
      taskward
    </span>
  )
}
