// A file of its own, so that the page works where inline scripts are forbidden.
SwaggerUIBundle({
  url: "openapi.json", // relative: the service may be below a path prefix
  dom_id: "#docs",
  deepLinking: true,
  validatorUrl: null, // the default asks a third party
});
