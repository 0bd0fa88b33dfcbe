"""What is around the app in a process that serves: uvicorn, connections, the start and the end."""
