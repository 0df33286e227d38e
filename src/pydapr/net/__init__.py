"""asyncio around `wire`: servers, clients and pools that move the bytes."""
